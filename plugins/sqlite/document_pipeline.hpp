// Pipeline is a compiled aggregation pipeline: documents are pushed in at one end and come out at
// the other.
//
// Owner:   a call. Threads: one at a time.
// Memory:  stages that must hold what they got ($sort, $group) share 64 MiB; more is `too_large`.
// Refuses: by name, as `unsupported`, every stage that is not compiled here.
// Source:  https://www.mongodb.com/docs/manual/reference/operator/aggregation-pipeline/
#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "plugins/sqlite/document_filter.hpp"
#include "plugins/sqlite/document_sort.hpp"
#include "plugins/sqlite/document_value.hpp"

namespace headgate::sqlite::doc {

inline constexpr std::size_t kStagesMax = 200;

// What the stages of one run may use: bytes held between them, and time.
class Budget {
 public:
  Budget(std::size_t bytes, std::function<void()> tick) : left_(bytes), tick_(std::move(tick)) {}
  void spend(std::size_t bytes);  // throws too_large
  void give_back(std::size_t bytes) { left_ += bytes; }
  // Where one document becomes many. Throws when the call's time is over.
  void tick() const {
    if (tick_) tick_();
  }

 private:
  std::size_t left_;
  std::function<void()> tick_;
};

class Stage {
 public:
  virtual ~Stage() = default;
  // False: nothing more is wanted.
  virtual bool push(Value document) = 0;
  // No more will come.
  virtual void finish() { next->finish(); }
  Stage* next = nullptr;
};

class Pipeline {
 public:
  explicit Pipeline(const Value& stages);

  // What the pipeline begins with and a query can do better: its first $match, and the order of a
  // $sort right after it.
  [[nodiscard]] const Value& first_match() const { return first_match_; }
  [[nodiscard]] const std::vector<SortKey>& first_order() const { return first_order_; }

  // Sends documents of `feed` through. feed(push) calls push until it says false. sorted: the
  // documents come in first_order() already. out: false ends it. tick: see Budget.
  using Push = std::function<bool(Value)>;
  void run(bool sorted, const std::function<void(const Push&)>& feed, const Push& out,
           const std::function<void()>& tick) const;

 private:
  struct Step {
    std::string name;
    Value spec;
  };
  std::vector<Step> steps_;  // without the first match
  Value first_match_ = Value::object();
  std::vector<SortKey> first_order_;
};

// Throws Error for what is no such stage; compiled anew for each run.
std::unique_ptr<Stage> make_stage(const std::string& name, const Value& spec, Budget& budget);
std::unique_ptr<Stage> make_group(const Value& spec, Budget& budget);

}  // namespace headgate::sqlite::doc
