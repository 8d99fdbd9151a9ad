#include "daemon/config/tree.hpp"

// The library (3.3) asserts on some faulty texts (`[=a]`), and in release builds takes its
// assertions for facts. Here they are exceptions, always; parse_tree() makes a fault of them.
namespace headgate::config {
struct ParserDoubt {};
}  // namespace headgate::config
#undef NDEBUG
#define TOML_ASSERT(expression) \
  (static_cast<bool>(expression) ? void() : throw ::headgate::config::ParserDoubt{})
#pragma GCC diagnostic ignored "-Wterminate"  // where the library says noexcept it still ends us
#define TOML_HEADER_ONLY 1
#define TOML_ENABLE_FORMATTERS 0
#define TOML_MAX_NESTED_VALUES 32
#include <toml++/toml.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

namespace headgate::config {
namespace {

Place place_of(const toml::source_region& region, const std::string& file) {
  return {file, region.begin.line, region.begin.column};
}

// The library bounds [[...]] and {{...}}, but a dotted key makes a table for every dot, and tables
// are destroyed recursively. So dots are bounded before it sees them: 32 values of 128 levels each.
constexpr std::size_t kDotsMax = 128;  // on a line that is no comment
constexpr int kDepthMax = 32;          // of what we read

// The first line with too many dots, or 0.
std::uint32_t too_dotted(std::string_view text) {
  std::uint32_t number = 1;
  for (std::size_t at = 0; at < text.size(); ++number) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = text.substr(at, end - at);
    const std::size_t first = line.find_first_not_of(" \t");
    const bool comment = first != std::string_view::npos && line[first] == '#';
    if (!comment &&
        static_cast<std::size_t>(std::count(line.begin(), line.end(), '.')) > kDotsMax) {
      return number;
    }
    at = end + 1;
  }
  return 0;
}

// The place of the first value that lies too deep, or nothing.
struct TooDeep {
  Place place;
};

Node convert(const toml::node& from, const std::string& file, int depth = 0) {
  if (depth > kDepthMax) throw TooDeep{place_of(from.source(), file)};
  Node to;
  to.place = place_of(from.source(), file);
  if (const auto* t = from.as_table()) {
    to.kind = Node::Kind::table;
    for (const auto& [key, value] : *t) {
      Node child = convert(value, file, depth + 1);
      child.key_place = place_of(key.source(), file);
      to.entries.emplace_back(std::string(key.str()), std::move(child));
    }
    // The library sorts by name; faults are better told in the order of the file.
    std::stable_sort(to.entries.begin(), to.entries.end(), [](const auto& a, const auto& b) {
      const Place& p = a.second.key_place;
      const Place& q = b.second.key_place;
      return std::pair(p.line, p.column) < std::pair(q.line, q.column);
    });
  } else if (const auto* a = from.as_array()) {
    to.kind = Node::Kind::array;
    for (const auto& value : *a) to.items.push_back(convert(value, file, depth + 1));
  } else if (const auto* s = from.as_string()) {
    to.kind = Node::Kind::string;
    to.text = s->get();
  } else if (const auto* i = from.as_integer()) {
    to.kind = Node::Kind::integer;
    to.integer = i->get();
  } else if (const auto* d = from.as_floating_point()) {
    to.kind = Node::Kind::real;
    to.real = d->get();
  } else if (const auto* b = from.as_boolean()) {
    to.kind = Node::Kind::flag;
    to.flag = b->get();
  } else {
    to.kind = Node::Kind::time;
  }
  return to;
}

// Does the value of this line look like a word or a quantity that lacks its quotes?
bool unquoted(std::string_view text, std::uint32_t line) {
  for (; line > 1; --line) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) return false;
    text.remove_prefix(end + 1);
  }
  text = text.substr(0, text.find_first_of("#\n"));
  const std::size_t equals = text.find('=');
  if (equals == std::string_view::npos || text.find_first_of("\"'[{") < text.size()) return false;
  return std::any_of(text.begin() + static_cast<std::ptrdiff_t>(equals), text.end(),
                     [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); });
}

bool is_array_of_tables(const Node& n) {
  return n.is(Node::Kind::array) && !n.items.empty() &&
         std::all_of(n.items.begin(), n.items.end(),
                     [](const Node& i) { return i.is(Node::Kind::table); });
}

bool doubted(std::string_view text) {
  try {
    static_cast<void>(toml::parse(text));
  } catch (const ParserDoubt&) {
    return true;
  } catch (const toml::parse_error&) {
  }
  return false;
}

// Where the parser gave up without saying so: it reads from front to back, so the shortest
// beginning of the text that it doubts ends there.
Place place_of_doubt(std::string_view text, const std::string& file) {
  std::size_t good = 0;
  std::size_t bad = text.size();
  while (bad - good > 1) {
    const std::size_t middle = good + (bad - good) / 2;
    (doubted(text.substr(0, middle)) ? bad : good) = middle;
  }
  const std::string_view before = text.substr(0, good);
  const std::size_t line_start = before.rfind('\n') + 1;  // npos + 1 is 0
  return {file, static_cast<std::uint32_t>(std::count(before.begin(), before.end(), '\n')) + 1,
          static_cast<std::uint32_t>(good - line_start) + 1};
}

}  // namespace

Node::Node() = default;
Node::Node(const Node&) = default;
Node::Node(Node&&) noexcept = default;
Node& Node::operator=(const Node&) = default;
Node& Node::operator=(Node&&) noexcept = default;
Node::~Node() = default;

const Node* Node::find(std::string_view key) const {
  for (const auto& [k, v] : entries) {
    if (k == key) return &v;
  }
  return nullptr;
}
Node* Node::find(std::string_view key) { return const_cast<Node*>(std::as_const(*this).find(key)); }

std::string_view name(Node::Kind kind) {
  switch (kind) {
    case Node::Kind::string:
      return "a string";
    case Node::Kind::integer:
      return "an integer";
    case Node::Kind::real:
      return "a float";
    case Node::Kind::flag:
      return "a boolean";
    case Node::Kind::time:
      return "a date or time";
    case Node::Kind::array:
      return "an array";
    case Node::Kind::table:
      return "a table";
  }
  return "?";
}

tl::expected<Node, ConfigFault> parse_tree(std::string_view text, const std::string& file) {
  if (const std::uint32_t line = too_dotted(text)) {
    return tl::make_unexpected(
        ConfigFault{Place{file, line, 1},
                    "has more than " + std::to_string(kDotsMax) + " dots; split the line"});
  }
  try {
    return convert(toml::parse(text, std::string_view(file)), file);
  } catch (const ParserDoubt&) {
    return tl::make_unexpected(
        ConfigFault{place_of_doubt(text, file), "syntax: a key or an end was expected here"});
  } catch (const TooDeep& e) {
    return tl::make_unexpected(
        ConfigFault{e.place, "is nested deeper than " + std::to_string(kDepthMax)});
  } catch (const toml::parse_error& e) {
    std::string what = "syntax: ";
    what += e.description();
    if (unquoted(text, e.source().begin.line)) {
      what += " (strings, durations and sizes stand in quotes)";
    }
    return tl::make_unexpected(ConfigFault{place_of(e.source(), file), what});
  }
}

tl::expected<Node, ConfigFault> read_tree(const std::string& file) {
  errno = 0;
  std::ifstream in(file, std::ios::binary);
  std::string text;
  if (in) {
    text.resize(kFileMax + 1);
    in.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(in.gcount()));
  }
  if (!in.is_open() || in.bad()) {
    const char* why = errno != 0 ? std::strerror(errno) : "not a readable file";
    return tl::make_unexpected(
        ConfigFault{Place{file, 0, 0}, std::string("cannot be read: ") + why});
  }
  if (text.size() > kFileMax) {
    return tl::make_unexpected(ConfigFault{Place{file, 0, 0}, "is larger than 4MiB"});
  }
  return parse_tree(text, file);
}

void lay_over(Node& base, Node over) {
  for (auto& [key, value] : over.entries) {
    Node* mine = base.find(key);
    if (mine == nullptr) {
      base.entries.emplace_back(key, std::move(value));
    } else if (mine->is(Node::Kind::table) && value.is(Node::Kind::table)) {
      lay_over(*mine, std::move(value));
    } else if (is_array_of_tables(*mine) && is_array_of_tables(value)) {
      std::move(value.items.begin(), value.items.end(), std::back_inserter(mine->items));
    } else {
      *mine = std::move(value);
    }
  }
}

}  // namespace headgate::config
