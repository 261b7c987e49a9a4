#include <cloche/module.h>

#include <set>
#include <sstream>
#include <string>

static std::set<std::string> seen; // of one version in one process: nobody else's

static int handle(void *, const cloche_request *request, cloche_reply *reply)
{
    std::istringstream in(std::string(static_cast<const char *>(request->data), request->size));
    for (std::string word; in >> word;)
        seen.insert(word);
    return cloche_reply_number(reply, static_cast<int64_t>(seen.size())) ||
           cloche_reply_text(reply, " different words so far");
}
CLOCHE_MODULE("count", .init = cloche_no_init, .handle = handle);
