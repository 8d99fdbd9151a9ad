// Path is a dotted field path, and the ways MongoDB follows one through arrays.
//
// Threads: a value; the functions are pure.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "plugins/sqlite/document_value.hpp"

namespace headgate::sqlite::doc {

class Path {
 public:
  Path() = default;
  // Throws Error (invalid) for an empty part or more than 100 parts.
  explicit Path(std::string_view dotted);

  [[nodiscard]] const std::string& text() const { return text_; }
  [[nodiscard]] std::size_t size() const { return parts_.size(); }
  [[nodiscard]] const std::string& operator[](std::size_t i) const { return parts_[i]; }
  // A part that is an array index, as MongoDB reads it: digits without a leading zero.
  [[nodiscard]] std::optional<std::size_t> index(std::size_t i) const { return indexes_[i]; }
  [[nodiscard]] bool has_index() const;
  // Whether one of the two is the other or leads to it.
  [[nodiscard]] bool overlaps(const Path& other) const;

 private:
  std::string text_;
  std::vector<std::string> parts_;
  std::vector<std::optional<std::size_t>> indexes_;
};

std::optional<std::size_t> array_index(std::string_view part);

// What a predicate on a path is asked about, one after the other, until it says true.
class Visitor {
 public:
  virtual ~Visitor() = default;
  // value: null pointer where the path leads nowhere. True: enough, stop.
  virtual bool visit(const Value* value) = 0;
  // The position in the outermost array that was passed on the way to the value just visited.
  std::optional<std::size_t> position;
};

// Follows the path as a filter does: arrays on the way are entered implicitly and by index; an
// array at the end gives its elements and then itself (with leaf_elements), or only itself. True:
// the visitor said so.
bool walk(const Value& object, const Path& path, bool leaf_elements, Visitor& visitor);

}  // namespace headgate::sqlite::doc
