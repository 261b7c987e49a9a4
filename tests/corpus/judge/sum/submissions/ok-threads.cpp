#include <thread>
#include <algorithm>
#include <iostream>
#include <vector>
int main()
{
    int n;
    std::cin >> n;
    std::vector<long> v(n);
    for (auto &x : v)
        std::cin >> x;
    std::thread([&] { std::sort(v.begin(), v.end()); }).join();
    long s = 0;
    for (auto x : v)
        s += x;
    if (v.empty())
        std::cout << "0 none\n";
    else
        std::cout << s << ' ' << *std::max_element(v.begin(), v.end()) << std::endl;
}
