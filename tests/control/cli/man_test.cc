// Goal: the manual pages, the table of docs/operating.md and --help have the same commands and
// options.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "control/cli/commands/command.h"

namespace volfs {
namespace {

using Options = std::set<std::string>;                    // "-J", "--json"
using OptionsByCommand = std::map<std::string, Options>;  // "node init"

constexpr const char* kCommon = "";  // OPTIONS of volfs.1, the program's own --help

void AddMatches(const std::string& line, const std::regex& pattern, Options& options) {
  for (std::sregex_iterator match(line.begin(), line.end(), pattern), end; match != end; ++match) {
    options.insert("-" + match->str(1));
  }
}

OptionsByCommand OfHelp() {
  const std::regex command("volfs ([a-z]+( [a-z]+)?)");
  const std::regex option_line("  (-[^ ]+).*");
  const std::regex option("-(-?[A-Za-z]+(?:-[a-z]+)*)");
  OptionsByCommand all;
  std::istringstream text(HelpOfAllCommands());
  std::string at = kCommon;
  std::smatch match;
  for (std::string line; std::getline(text, line);) {
    if (std::regex_match(line, match, command)) {
      at = match.str(1);
      all[at];
    } else if (std::regex_match(line, match, option_line)) {
      AddMatches(match.str(1), option, all[at]);
    }
  }
  return all;
}

void AddPage(const std::filesystem::path& page, OptionsByCommand& all) {
  std::ifstream file(page);
  const std::regex command("\\.It Cm ([a-z]+( init| set| forget| ls)?)\\b.*");
  const std::regex option("Fl (-?[A-Za-z]+(?:-[a-z]+)*)");
  std::string at;
  std::string section;
  std::smatch match;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(".Sh ")) section = line.substr(4);
    if (section == "OPTIONS") at = kCommon;
    if (section != "OPTIONS" && section != "COMMANDS") continue;
    if (std::regex_match(line, match, command)) {
      at = match.str(1);
      EXPECT_FALSE(all.contains(at)) << page << ": another page has " << at;
      all[at];
    }
    if (line.starts_with(".It Fl")) AddMatches(line, option, all[at]);
  }
}

// Of control/man/volfs.1 and volfs-*.1 together.
OptionsByCommand OfPages() {
  OptionsByCommand all;
  for (const auto& entry : std::filesystem::directory_iterator(VOLFS_SOURCE_DIR "/control/man")) {
    if (entry.path().extension() == ".1") AddPage(entry.path(), all);
  }
  return all;
}

Options Names(const OptionsByCommand& all) {
  Options names;
  for (const auto& [name, options] : all) names.insert(name);
  return names;
}

TEST(ManTest, ThePagesHaveTheCommandsOfHelp) {
  Options help = Names(OfHelp());
  help.erase("node");  // "node" alone is no command, only "node init" and the like
  EXPECT_EQ(Names(OfPages()), help);
  EXPECT_GT(help.size(), 18U);
}

TEST(ManTest, ThePagesHaveEachOptionOfHelp) {
  const OptionsByCommand page = OfPages();
  for (const auto& [command, options] : OfHelp()) {
    for (const std::string& option : options) {
      const auto item = page.find(command);
      // restore refers to the options of clone.
      const auto clone = page.find("clone");
      const bool known = page.at(kCommon).contains(option) ||
                         (item != page.end() && item->second.contains(option)) ||
                         (command == "restore" && clone->second.contains(option));
      EXPECT_TRUE(known) << "volfs " << command << " " << option << " is in no manual page";
    }
  }
}

TEST(ManTest, ThePagesHaveNoOptionThatHelpHasNot) {
  const OptionsByCommand help = OfHelp();
  Options all;
  for (const auto& [command, options] : help) all.insert(options.begin(), options.end());
  for (const auto& [command, options] : OfPages()) {
    for (const std::string& option : options) {
      const bool known = command == kCommon
                             ? all.contains(option)
                             : help.contains(command) && help.at(command).contains(option);
      EXPECT_TRUE(known) << command << " " << option << " is in a manual page only";
    }
  }
}

// ---- docs/operating.md

// A row of the table is about one command or several, with the options of any of them.
struct TableRow {
  Options commands;
  Options options;
};

std::vector<TableRow> RowsOfOperatingPage() {
  std::ifstream file(VOLFS_SOURCE_DIR "/docs/operating.md");
  EXPECT_TRUE(file) << "docs/operating.md cannot be read";
  const std::regex code("`([^`]+)`");
  const std::regex command("volfs ([a-z]+( init| ls| set| forget)?)\\b.*");
  const std::regex option("[ \\[]-(-?[A-Za-z]+(?:-[a-z]+)*)");
  std::vector<TableRow> rows;
  bool in_table = false;
  std::smatch match;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("## ")) in_table = line == "## Commands";
    if (!in_table || !line.starts_with("| `volfs ")) continue;
    TableRow row;
    for (std::sregex_iterator span(line.begin(), line.end(), code), end; span != end; ++span) {
      const std::string words = span->str(1);
      const bool of_command = std::regex_match(words, match, command);
      if (of_command) row.commands.insert(match.str(1));
      if (of_command || words.starts_with("-")) AddMatches(" " + words, option, row.options);
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

// "-f,--foreground" counts as documented if one of its spellings is.
std::vector<Options> SpellingsOfHelp(const std::string& wanted) {
  const std::regex command("volfs ([a-z]+( [a-z]+)?)");
  const std::regex option_line("  (-[^ ]+).*");
  const std::regex option("-(-?[A-Za-z]+(?:-[a-z]+)*)");
  std::istringstream text(HelpOfAllCommands());
  std::vector<Options> all;
  std::string at = kCommon;
  std::smatch match;
  for (std::string line; std::getline(text, line);) {
    if (std::regex_match(line, match, command)) at = match.str(1);
    if (at != wanted || !std::regex_match(line, match, option_line)) continue;
    AddMatches(match.str(1), option, all.emplace_back());
  }
  return all;
}

TEST(OperatingPageTest, TheTableHasTheCommandsOfHelp) {
  Options help = Names(OfHelp());
  help.erase("node");
  help.erase(kCommon);
  Options table;
  for (const TableRow& row : RowsOfOperatingPage())
    table.insert(row.commands.begin(), row.commands.end());
  EXPECT_EQ(table, help);
}

// Options that most commands take stand below the table.
TEST(OperatingPageTest, TheTableHasTheOptionsOfHelp) {
  const Options common = {"-h", "--help", "-J", "--json", "--mount"};
  for (const TableRow& row : RowsOfOperatingPage()) {
    Options known = common;
    for (const std::string& command : row.commands) {
      for (const Options& spellings : SpellingsOfHelp(command)) {
        known.insert(spellings.begin(), spellings.end());
        const auto told = [&](const std::string& spelling) {
          return common.contains(spelling) || row.options.contains(spelling) ||
                 command == "restore";  // "options as clone"
        };
        EXPECT_TRUE(std::any_of(spellings.begin(), spellings.end(), told))
            << "volfs " << command << " " << *spellings.begin()
            << " is not in the table of docs/operating.md";
      }
    }
    for (const std::string& option : row.options) {
      EXPECT_TRUE(known.contains(option)) << option << " of volfs " << *row.commands.begin()
                                          << " is in the table of docs/operating.md only";
    }
  }
}

}  // namespace
}  // namespace volfs
