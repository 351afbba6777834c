// A few large headers and templates to be instantiated.
#include <algorithm>
#include <iostream>
#include <map>
#include <regex>
#include <string>
#include <vector>

int main()
{
    std::map<std::string, std::vector<std::string>> words;
    std::regex pattern("([a-z]+)=([0-9]+)");
    for (std::string line; std::getline(std::cin, line);) {
        std::smatch match;
        if (std::regex_match(line, match, pattern))
            words[match[1]].push_back(match[2]);
    }
    for (auto &entry : words) {
        std::sort(entry.second.begin(), entry.second.end());
        std::cout << entry.first << ' ' << entry.second.size() << '\n';
    }
}
