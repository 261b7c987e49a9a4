// C++ with its library, exceptions and destructors: answers how many different words it has seen.
#include <cloche/module.h>

#include <set>
#include <sstream>
#include <stdexcept>
#include <string>

namespace {

struct words {
    std::set<std::string> seen;

    size_t take(const std::string &text)
    {
        std::istringstream in(text);
        std::string word;
        if (text.empty())
            throw std::invalid_argument("nothing to read");
        while (in >> word)
            seen.insert(word);
        return seen.size();
    }
};

int init(const cloche_host *, void **self)
{
    *self = new words;
    return 0;
}

int handle(void *self, const cloche_request *request, cloche_reply *reply)
{
    try {
        auto *w = static_cast<words *>(self);
        size_t n = w->take({static_cast<const char *>(request->data), request->size});
        return cloche_reply_number(reply, static_cast<int64_t>(n));
    } catch (const std::exception &e) {
        cloche_reply_text(reply, e.what());
        return 1;
    }
}

void stop(void *self, int)
{
    delete static_cast<words *>(self);
}

} // namespace

CLOCHE_MODULE("words", .init = init, .handle = handle, .stop = stop);
