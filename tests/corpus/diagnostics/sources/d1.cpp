#include <vector>
#include <string>
template <class T> T twice(T x) { return x * 2; }
int main()
{
    std::vector<int> v;
    v.push_bak(3);
    auto s = twice(std::string("a"));
    int unused = 1;
    return v.size
}
