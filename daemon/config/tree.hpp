// Node is one value of a TOML file with the place it stands at. The rest of this folder reads Nodes
// and knows nothing of the TOML library, which stays in tree.cpp.
//
// Threads: values.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

#include "daemon/config/config.hpp"

namespace headgate::config {

inline constexpr std::size_t kFileMax = 4u << 20;  // bytes of one file

struct Node {
  enum class Kind : std::uint8_t { string, integer, real, flag, time, array, table };
  // In tree.cpp, where pairs of a Node are complete.
  Node();
  Node(const Node&);
  Node(Node&&) noexcept;
  Node& operator=(const Node&);
  Node& operator=(Node&&) noexcept;
  ~Node();

  Kind kind = Kind::table;
  Place place;      // of the value; of a table [header], of its header
  Place key_place;  // of the key that names it
  std::string text;
  std::int64_t integer = 0;
  double real = 0;
  bool flag = false;
  std::vector<Node> items;                            // array
  std::vector<std::pair<std::string, Node>> entries;  // table, in the order of the file

  [[nodiscard]] const Node* find(std::string_view key) const;
  [[nodiscard]] Node* find(std::string_view key);
  [[nodiscard]] bool is(Kind k) const { return kind == k; }
};

// "a string", "an integer", ...: for messages.
std::string_view name(Node::Kind kind);

// The file's table, or its one syntax error (TOML has no way to go on after one).
tl::expected<Node, ConfigFault> read_tree(const std::string& file);
tl::expected<Node, ConfigFault> parse_tree(std::string_view text, const std::string& file);

// Lays `over` on `base`: tables are merged key by key, everything else replaces. Arrays of tables
// are joined. A key of a table of tables that is in both is left to the caller's rules: see load().
void lay_over(Node& base, Node over);

}  // namespace headgate::config
