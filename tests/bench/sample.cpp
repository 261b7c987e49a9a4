// The header that contestants include, for the bench.
#include <bits/stdc++.h>

int main()
{
    std::map<std::string, std::vector<int>> words;
    std::string word;
    for (int line = 0; std::cin >> word; line++)
        words[word].push_back(line);
    for (auto &[key, lines] : words) {
        std::sort(lines.rbegin(), lines.rend());
        std::cout << key << ' ' << lines.size() << ' ' << lines.front() << '\n';
    }
}
