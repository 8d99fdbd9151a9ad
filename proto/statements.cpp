#include "proto/statements.hpp"

#include <algorithm>

namespace headgate::proto {
namespace {

bool word_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

std::string_view trim(std::string_view s) {
  const std::size_t from = s.find_first_not_of(" \t\r\n");
  if (from == std::string_view::npos) return {};
  return s.substr(from, s.find_last_not_of(" \t\r\n") - from + 1);
}

std::string upper(std::string_view s) {
  std::string out(s);
  for (char& c : out) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return out;
}

// The word that begins at i; empty: none does.
std::string_view word_at(std::string_view s, std::size_t i) {
  std::size_t end = i;
  while (end < s.size() && word_character(s[end])) ++end;
  return s.substr(i, end - i);
}

// The end of PostgreSQL's E'...', in which a backslash takes the next character with it.
std::size_t after_escaped(std::string_view s, std::size_t i) {
  for (; i < s.size() && s[i] != '\''; ++i)
    if (s[i] == '\\') ++i;
  return std::min(i + 1, s.size());
}

// The end of what begins at i and is no plain text: a quoted thing, a comment; i when it is none.
std::size_t skip_opaque(std::string_view s, std::size_t i) {
  const auto after = [&](std::string_view end, std::size_t from) {
    const std::size_t at = s.find(end, from);
    return at == std::string_view::npos ? s.size() : at + end.size();
  };
  const char c = s[i];
  const bool escapes =
      i > 0 && (s[i - 1] == 'e' || s[i - 1] == 'E') && (i == 1 || !word_character(s[i - 2]));
  if (c == '\'' && escapes) return after_escaped(s, i + 1);
  if (c == '\'' || c == '"' || c == '`') return after(std::string_view(&s[i], 1), i + 1);
  if (c == '[') {
    const std::size_t at = s.find_first_of("]\n'\"", i);
    return at != std::string_view::npos && s[at] == ']' ? at + 1 : i;
  }
  if (s.substr(i, 2) == "--") return after("\n", i);
  if (s.substr(i, 2) == "/*") return after("*/", i + 2);
  if (c == '$' && (i == 0 || !word_character(s[i - 1]))) {
    const std::size_t end = i + 1 + word_at(s, i + 1).size();
    const bool tag =
        end < s.size() && s[end] == '$' && (end == i + 1 || s[i + 1] < '0' || s[i + 1] > '9');
    if (tag) return after(s.substr(i, end + 1 - i), end + 1);
  }
  return i;
}

// The words of a statement one by one, what is quoted and commented left out.
class Words {
 public:
  void word(const std::string& w) {
    ++count_;
    if (count_ == 1) create_ = w == "CREATE";
    if (create_ && w == "TRIGGER" && count_ <= 4) block_ = true;
    const bool atomic = create_ && w == "ATOMIC" && last_ == "BEGIN";  // a function's body
    last_ = w;
    if (atomic && !block_) block_ = true, depth_ = 1;
    if (!block_) return;
    if (w == "BEGIN" || (w == "CASE" && depth_ > 0)) ++depth_;
    if (w == "END" && depth_ > 0) --depth_;
  }
  void parenthesis(char c) {
    if (c == '(') ++parentheses_;
    if (c == ')' && parentheses_ > 0) --parentheses_;
  }
  // A semicolon here does not end the statement.
  [[nodiscard]] bool inside() const { return depth_ > 0 || parentheses_ > 0; }

 private:
  std::string last_;
  int count_ = 0;
  int depth_ = 0;
  int parentheses_ = 0;
  bool create_ = false;
  bool block_ = false;
};

bool only_comments(std::string_view s) {
  for (std::size_t i = 0; i < s.size();) {
    if (s[i] == ' ' || s[i] == '\t' || s[i] == '\n' || s[i] == '\r') {
      ++i;
      continue;
    }
    if (s.substr(i, 2) != "--" && s.substr(i, 2) != "/*") return false;
    i = skip_opaque(s, i);
  }
  return true;
}

}  // namespace

Cut cut(std::string_view s) {
  Cut out;
  std::size_t start = 0;
  Words words;
  for (std::size_t i = 0; i < s.size();) {
    if (const std::size_t end = skip_opaque(s, i); end != i) {
      i = end;
      continue;
    }
    if (const std::string_view word = word_at(s, i); !word.empty()) {
      words.word(upper(word));
      i += word.size();
      continue;
    }
    words.parenthesis(s[i]);
    if (s[i] == ';' && !words.inside()) {
      const std::string_view text = trim(s.substr(start, i - start));
      if (!only_comments(text)) out.statements.emplace_back(text);
      start = i + 1;
      words = Words();
    }
    ++i;
  }
  const std::string_view rest = trim(s.substr(std::min(start, s.size())));
  if (!only_comments(rest)) out.rest = rest;
  return out;
}

std::string first_word(std::string_view s) {
  for (std::size_t i = 0; i < s.size();) {
    if (const std::string_view word = word_at(s, i); !word.empty()) return upper(word);
    const bool blank = s[i] == ' ' || s[i] == '\t' || s[i] == '\n' || s[i] == '\r' || s[i] == '(';
    const bool comment = s.substr(i, 2) == "--" || s.substr(i, 2) == "/*";
    if (!blank && !comment) return {};
    i = comment ? skip_opaque(s, i) : i + 1;
  }
  return {};
}

namespace {

// Some word of it may write; a column of that name makes it one call of `execute` too many, no
// more.
bool may_write(std::string_view s) {
  for (std::size_t i = 0; i < s.size();) {
    if (const std::size_t end = skip_opaque(s, i); end != i) {
      i = end;
    } else if (const std::string_view word = word_at(s, i); !word.empty()) {
      const std::string w = upper(word);
      if (w == "INSERT" || w == "UPDATE" || w == "DELETE" || w == "REPLACE" || w == "MERGE")
        return true;
      i += word.size();
    } else {
      ++i;
    }
  }
  return false;
}

}  // namespace

bool is_query(std::string_view sql) {
  const std::string w = first_word(sql);
  if (w == "WITH") return !may_write(sql);
  return w == "SELECT" || w == "VALUES" || w == "EXPLAIN" || w == "TABLE" || w == "SHOW";
}

}  // namespace headgate::proto
