// Projection says which fields of a document leave, and which are computed.
//
// Serves find (include or exclude), and the stages $project, $addFields and $unset.
// Owner:   the call or the stage. Threads: one at a time.
// Source:  https://www.mongodb.com/docs/manual/reference/operator/aggregation/project/
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "plugins/sqlite/document_expression.hpp"
#include "plugins/sqlite/document_value.hpp"

namespace headgate::sqlite::doc {

inline constexpr std::size_t kProjectedMax = 1000;  // fields at one place

class Projection {
 public:
  enum class Form {
    find,        // as project; $slice, $elemMatch, $meta and `a.$` are refused by name
    project,     // include or exclude, and compute
    add_fields,  // compute, keep everything
    unset        // a name or a list of names
  };
  Projection() = default;  // everything
  Projection(Form form, const Value& spec);

  [[nodiscard]] Value apply(Value document) const;
  [[nodiscard]] bool keeps_everything() const { return !root_; }

  struct Node {
    enum class What { inner, include, exclude, compute };
    What what = What::inner;
    std::string name;
    std::vector<Node> children;
    std::shared_ptr<const Expression> expression;
    bool computes = false;  // something below is computed
  };

 private:
  void add(Form form, const std::string& path, const Value& v);
  Node& place(const std::string& path);
  std::shared_ptr<Node> root_;
  bool includes_ = false;
};

}  // namespace headgate::sqlite::doc
