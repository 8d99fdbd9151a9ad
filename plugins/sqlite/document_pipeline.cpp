// Compiling a pipeline and running it; see document_pipeline.hpp. Stages: document_stages.cpp,
// $group: document_group.cpp.
#include "plugins/sqlite/document_pipeline.hpp"

#include "plugins/sqlite/document_error.hpp"
#include "plugins/sqlite/document_scan.hpp"

namespace headgate::sqlite::doc {
namespace {

class Out final : public Stage {
 public:
  explicit Out(const Pipeline::Push& out) : out_(out) {}
  bool push(Value document) override { return out_(std::move(document)); }
  void finish() override {}

 private:
  const Pipeline::Push& out_;
};

}  // namespace

void Budget::spend(std::size_t bytes) {
  if (bytes > left_) throw too_large("the pipeline needs more than 64 MiB to sort or group");
  left_ -= bytes;
}

Pipeline::Pipeline(const Value& stages) {
  if (!stages.is(Tag::array)) throw bad("a pipeline is a list of stages");
  if (stages.items().size() > kStagesMax) throw bad("a pipeline has at most 200 stages");
  Budget unused(0, {});
  for (const Value& stage : stages.items()) {
    if (!stage.is(Tag::object) || stage.fields().size() != 1)
      throw bad("a stage is a document with one field, its name");
    const Field& f = stage.fields()[0];
    make_stage(f.name, f.value, unused);  // refuses what is wrong before anything runs
    if (steps_.empty() && f.name == "$match" && first_match_.fields().empty())
      first_match_ = f.value;
    else
      steps_.push_back({f.name, f.value});
  }
  if (!steps_.empty() && steps_[0].name == "$sort") first_order_ = read_sort(steps_[0].spec);
}

void Pipeline::run(bool sorted, const std::function<void(const Push&)>& feed, const Push& out,
                   const std::function<void()>& tick) const {
  Budget budget(kSortBytesMax, tick);
  std::vector<std::unique_ptr<Stage>> chain;
  for (std::size_t i = sorted && !first_order_.empty() ? 1 : 0; i < steps_.size(); ++i)
    chain.push_back(make_stage(steps_[i].name, steps_[i].spec, budget));
  chain.push_back(std::make_unique<Out>(out));
  for (std::size_t i = 0; i + 1 < chain.size(); ++i) chain[i]->next = chain[i + 1].get();
  feed([&](Value document) { return chain[0]->push(std::move(document)); });
  chain[0]->finish();
}

}  // namespace headgate::sqlite::doc
