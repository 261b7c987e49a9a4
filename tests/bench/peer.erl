#!/usr/bin/env escript
%% A peer for tests/bench/run-modules: a gen_server with 64 KiB of state behind HTTP on 127.0.0.1:PORT.
%% Each line of standard input has it changed as a release upgrade does; the answer is how many us that took.
-mode(compile).

main([Port]) ->
    Versions = [build(V) || V <- ["1", "2"]],
    {module, state} = code:load_binary(state, "state", hd(Versions)),
    {ok, _} = gen_server:start({local, state}, state, [], []),
    {ok, Socket} = gen_tcp:listen(list_to_integer(Port), [binary, {ip, {127, 0, 0, 1}}, {packet, line}, {active, false},
                                                          {reuseaddr, true}, {nodelay, true}]),
    spawn_link(fun() -> accept(Socket) end),
    change(tl(Versions) ++ [hd(Versions)]).

build(Version) ->
    Source = "-module(state). -export([init/1, handle_call/3, handle_cast/2, code_change/3]). "
             "init(_) -> {ok, binary:copy(<<0>>, 65536)}. "
             "handle_call(_, _, S) -> {reply, <<\"" ++ Version ++ "\">>, S}. "
             "handle_cast(_, S) -> {noreply, S}. "
             "code_change(_, S, _) -> {ok, binary:copy(S)}.",
    {ok, Tokens, _} = erl_scan:string(Source),
    {ok, state, Binary} = compile:forms([begin {ok, Form} = erl_parse:parse_form(F), Form end || F <- split(Tokens, [])], []),
    Binary.

split([], []) -> [];
split([{dot, _} = Dot | Rest], Form) -> [lists:reverse([Dot | Form]) | split(Rest, [])];
split([Token | Rest], Form) -> split(Rest, [Token | Form]).

accept(Socket) ->
    {ok, Client} = gen_tcp:accept(Socket),
    gen_tcp:controlling_process(Client, spawn(fun() -> serve(Client) end)),
    accept(Socket).

serve(Client) ->
    case gen_tcp:recv(Client, 0) of
        {ok, <<"\r\n">>} ->
            Body = gen_server:call(state, get),
            gen_tcp:send(Client, ["HTTP/1.1 200 OK\r\nContent-Length: ", integer_to_list(byte_size(Body)), "\r\n\r\n", Body]),
            serve(Client);
        {ok, _} -> serve(Client);
        _ -> ok
    end.

change([Next | Rest]) ->
    case io:get_line("") of
        eof -> halt(0);
        _ ->
            Began = erlang:monotonic_time(nanosecond),
            ok = sys:suspend(state),
            {module, state} = code:load_binary(state, "state", Next),
            ok = sys:change_code(state, state, undefined, []),
            ok = sys:resume(state),
            io:format("~.1f~n", [(erlang:monotonic_time(nanosecond) - Began) / 1000]),
            code:purge(state),
            change(Rest ++ [Next])
    end.
