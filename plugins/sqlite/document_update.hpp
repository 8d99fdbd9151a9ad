// Update is a compiled MongoDB update document: operators that change a document in place.
//
// Owner:   the call that compiled it. Threads: one at a time.
// Refuses: two operators on one path or on a path and what it holds; by name, as `unsupported`,
//          $[] and $[name], $bit, and an update that is a pipeline.
// Source:  https://www.mongodb.com/docs/manual/reference/operator/update/
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "plugins/sqlite/document_edit.hpp"
#include "plugins/sqlite/document_filter.hpp"
#include "plugins/sqlite/document_path.hpp"
#include "plugins/sqlite/document_value.hpp"

namespace headgate::sqlite::doc {

inline constexpr std::size_t kUpdateStepsMax = 2000;  // each looks through a document's fields

// A sort order: {a: 1, "b.c": -1}.
struct SortKey {
  Path path;
  bool descending = false;
};

class Update {
 public:
  // Throws Error.
  explicit Update(const Value& spec);

  struct Context {
    std::optional<std::size_t> position{};  // what the positional operator `$` stands for
    bool inserting = false;                 // $setOnInsert counts
    std::int64_t now_ms = 0;                // $currentDate
  };
  // Throws Error where the document does not allow it (a string to $inc, a changed _id); then the
  // document is in no useful state.
  void apply(Value& document, const Context& context) const;

  enum class Op : std::uint8_t {
    set,
    set_on_insert,
    unset,
    inc,
    mul,
    min,
    max,
    rename,
    push,
    add_to_set,
    pull,
    pull_all,
    pop,
    current_date
  };
  struct Step {
    Op op = Op::set;
    Path path;
    Value operand;
    Path target;                                  // rename
    std::shared_ptr<const ElementFilter> filter;  // pull
    std::optional<std::int64_t> position, slice;  // push
    std::vector<SortKey> sort;                    // push; a path of no parts: the element itself
  };

 private:
  void add(const std::string& op, const Field& field);
  void check_conflicts() const;
  std::vector<Step> steps_;
};

// The document that an upsert begins with: what the filter says by equality.
Value upsert_base(const Value& filter);
// Puts _id first, a new ObjectId where there is none.
void place_id(Value& document);

namespace detail {
void apply_to_array(const Update::Step& step, Value& array);  // push .. pop
void compile_push(Update::Step& step, const Value& operand);
void compile_add_to_set(Update::Step& step, const Value& operand);
}  // namespace detail

}  // namespace headgate::sqlite::doc
