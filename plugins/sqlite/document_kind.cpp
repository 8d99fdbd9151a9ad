// The table of verbs, routing and execution; see document_kind.hpp.
#include "plugins/sqlite/document_kind.hpp"

#include <algorithm>

#include "plugins/sqlite/describe.hpp"
#include "plugins/sqlite/document_error.hpp"
#include "plugins/sqlite/document_guard.hpp"
#include "plugins/sqlite/sql_rows.hpp"

namespace headgate::sqlite {
namespace {

using doc::DocumentVerb;
using proto::Bytes;
using proto::Type;

constexpr DocumentVerb kVerbs[] = {
    {"insert_one", "write", false, false, doc::run_insert_one},
    {"insert_many", "write", false, false, doc::run_insert_many},
    {"find", "read", true, false, doc::run_find},
    {"find_one", "read", false, false, doc::run_find_one},
    {"replace_one", "write", false, false, doc::run_replace_one},
    {"update_one", "write", false, false, doc::run_update},
    {"update_many", "write", false, false, doc::run_update},
    {"delete_one", "write", false, false, doc::run_delete},
    {"delete_many", "write", false, false, doc::run_delete},
    {"find_one_and_update", "write", false, false, doc::run_find_and_modify},
    {"find_one_and_replace", "write", false, false, doc::run_find_and_modify},
    {"find_one_and_delete", "write", false, false, doc::run_find_and_modify},
    {"count_documents", "read", false, false, doc::run_count},
    {"estimated_document_count", "read", false, false, doc::run_estimated_count},
    {"distinct", "read", false, false, doc::run_distinct},
    {"aggregate", "read", true, false, doc::run_aggregate},
    {"bulk_write", "write", false, false, doc::run_bulk_write},
    {"create_index", "admin", false, true, doc::run_create_index},
    {"drop_index", "admin", false, true, doc::run_drop_index},
    {"list_indexes", "read", false, false, doc::run_list_indexes},
    {"list_collections", "read", false, false, doc::run_list_collections},
    {"create_collection", "admin", false, true, doc::run_create_collection},
    {"drop_collection", "admin", false, true, doc::run_drop_collection},
    {"rename_collection", "admin", false, true, doc::run_rename_collection},
};

using Names = std::initializer_list<std::string_view>;
struct Shape {
  std::string_view verb;
  Names known;
  Names required;
};
// The bodies, as proto/verbs.json has them.
const Names kNone = {};
const Names kCollection = {"collection"};
const Names kInsertOne = {"collection", "document"};
const Names kInsertMany = {"collection", "documents", "ordered"};
const Names kDocuments = {"collection", "documents"};
const Names kFind = {"collection", "filter", "projection", "sort", "skip", "limit", "hint"};
const Names kFindOne = {"collection", "filter", "projection", "sort", "skip", "hint"};
const Names kReplace = {"collection", "filter", "replacement", "upsert", "if_version"};
const Names kReplaceNeeds = {"collection", "filter", "replacement"};
const Names kUpdate = {"collection", "filter", "update", "upsert"};
const Names kUpdateNeeds = {"collection", "filter", "update"};
const Names kDelete = {"collection", "filter"};
const Names kFindUpdate = {"collection", "filter", "update",         "projection",
                           "sort",       "upsert", "return_document"};
const Names kFindReplace = {"collection", "filter", "replacement",    "projection",
                            "sort",       "upsert", "return_document"};
const Names kFindDelete = {"collection", "filter", "projection", "sort"};
const Names kCount = {"collection", "filter", "skip", "limit"};
const Names kDistinct = {"collection", "key", "filter"};
const Names kDistinctNeeds = {"collection", "key"};
const Names kAggregate = {"collection", "pipeline"};
const Names kBulk = {"collection", "operations", "ordered"};
const Names kBulkNeeds = {"collection", "operations"};
const Names kCreateIndex = {"collection", "keys", "name", "unique"};
const Names kCreateIndexNeeds = {"collection", "keys"};
const Names kDropIndex = {"collection", "name"};
const Names kRename = {"collection", "to"};

const Shape kShapes[] = {
    {"insert_one", kInsertOne, kInsertOne},
    {"insert_many", kInsertMany, kDocuments},
    {"find", kFind, kCollection},
    {"find_one", kFindOne, kCollection},
    {"replace_one", kReplace, kReplaceNeeds},
    {"update_one", kUpdate, kUpdateNeeds},
    {"update_many", kUpdate, kUpdateNeeds},
    {"delete_one", kDelete, kDelete},
    {"delete_many", kDelete, kDelete},
    {"find_one_and_update", kFindUpdate, kUpdateNeeds},
    {"find_one_and_replace", kFindReplace, kReplaceNeeds},
    {"find_one_and_delete", kFindDelete, kDelete},
    {"count_documents", kCount, kCollection},
    {"estimated_document_count", kCollection, kCollection},
    {"distinct", kDistinct, kDistinctNeeds},
    {"aggregate", kAggregate, kAggregate},
    {"bulk_write", kBulk, kBulkNeeds},
    {"create_index", kCreateIndex, kCreateIndexNeeds},
    {"drop_index", kDropIndex, kDropIndex},
    {"list_indexes", kCollection, kCollection},
    {"list_collections", kNone, kNone},
    {"create_collection", kCollection, kCollection},
    {"drop_collection", kCollection, kCollection},
    {"rename_collection", kRename, kRename},
};

bool is_one_of(std::string_view name, Names names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// {$natural: 1}, or the word alone: a hint that asks for the order of storage.
bool is_natural(Bytes hint) {
  proto::Cursor c(hint);
  if (c.peek() == Type::map && c.read_map() == 0) return false;
  return c.peek() == Type::str && c.read_str() == "$natural";
}

void check_type(const sdk::Fields& f, std::string_view name) {
  const Bytes raw = f.raw(name);
  if (raw.empty()) return;
  if (name == "hint" && is_natural(raw))
    throw sdk::unsupported("the hint `$natural` is not supported");
  const Type type = proto::Cursor(raw).peek();
  const auto need = [&](bool good, const char* expected) {
    if (!good) throw f.wrong(name, expected);
  };
  if (is_one_of(name, {"collection", "hint", "key", "name", "to", "return_document"}))
    need(type == Type::str, "a string");
  else if (is_one_of(name, {"ordered", "upsert", "unique"}))
    need(type == Type::boolean, "true or false");
  else if (is_one_of(name, {"skip", "limit"}))
    need(type == Type::uint, "a whole number of 0 or more");
  else if (is_one_of(name, {"documents", "operations", "pipeline"}))
    need(type == Type::array, "a list");
  else if (is_one_of(name, {"sort", "keys"}))
    need(type == Type::map || type == Type::array, "a document or a list of [field, 1 or -1]");
  else if (name == "if_version")
    need(type == Type::bin || type == Type::str, "bytes");
  else if (name == "update")
    need(type == Type::map || type == Type::array, "a document");
  else
    need(type == Type::map, "a document");
}

std::uint64_t mix(std::uint64_t hash, std::string_view s) {
  for (const char c : s) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return (hash ^ 0xff) * 0x100000001b3ULL;
}

// The verb, the collection and which fields the filter asks for: not their values.
std::uint64_t digest_of(std::string_view verb, const sdk::Fields& body) {
  std::uint64_t hash = mix(0xcbf29ce484222325ULL, verb);
  if (body.has("collection")) hash = mix(hash, body.str("collection"));
  if (const Bytes filter = body.raw("filter"); !filter.empty()) {
    proto::Cursor c(filter);
    const std::uint32_t n = std::min<std::uint32_t>(c.read_map(), 32);
    for (std::uint32_t i = 0; i < n && c.ok(); ++i) {
      if (c.peek() == Type::str)
        hash = mix(hash, c.read_str());
      else
        c.skip();
      c.skip();
    }
  }
  return hash == 0 ? 1 : hash;
}

// {_id: value}, where no operator makes it mean several documents over time.
bool is_by_id(Bytes filter) {
  proto::Cursor c(filter);
  if (c.read_map() != 1 || c.peek() != Type::str || c.read_str() != "_id") return false;
  const proto::Item id = c.next();
  const bool regex = id.type == Type::ext && !id.bytes.empty() && id.bytes[0] == 0x0b;
  return c.ok() && id.type != Type::map && id.type != Type::array && !regex;
}

}  // namespace

namespace doc {

std::span<const DocumentVerb> document_verbs() { return kVerbs; }

const DocumentVerb& document_verb(std::string_view name) {
  for (const DocumentVerb& v : kVerbs)
    if (v.name == name) return v;
  throw sdk::unsupported("this store has no verb `" + std::string(name.substr(0, 64)) + "`");
}

sdk::Fields read_document_body(std::string_view verb, Bytes body) {
  document_verb(verb);
  const Shape& shape = *std::find_if(std::begin(kShapes), std::end(kShapes),
                                     [&](const Shape& s) { return s.verb == verb; });
  sdk::Fields fields(verb, body, shape.known);
  for (const std::string_view name : shape.known) {
    if (fields.raw(name).empty() && is_one_of(name, shape.required))
      throw sdk::invalid(std::string(verb) + ": field `" + std::string(name) + "` is missing");
    check_type(fields, name);
  }
  return fields;
}

}  // namespace doc

std::optional<doc::Value> DocumentCall::value(std::string_view field) const {
  const Bytes raw = body.raw(field);
  if (raw.empty()) return std::nullopt;
  return doc::read_value(raw);
}

doc::Value DocumentCall::document(std::string_view field) const {
  std::optional<doc::Value> v = value(field);
  return v ? std::move(*v) : doc::Value::object();
}

doc::Query DocumentCall::query() const {
  doc::Query q;
  q.filter = doc::Filter(document("filter"));
  if (const auto sort = value("sort")) q.order = doc::read_sort(*sort);
  q.skip = body.opt_integer("skip").value_or(0);
  q.limit = body.opt_integer("limit").value_or(0);
  q.hint = body.opt_str("hint").value_or("");
  return q;
}

DocumentKind::DocumentKind(const hg_host* host, const hg_driver_config& config)
    : host_(host), part_max_(config.part_max != 0 ? config.part_max : proto::kPartMax) {}

void DocumentKind::prepare(Database& db) { doc::Store::prepare(db); }

sdk::Route DocumentKind::route(std::string_view verb, Bytes body, const hg_call& call,
                               const sdk::Touches& touches) {
  const DocumentVerb& v = doc::document_verb(verb);
  const sdk::Fields fields = doc::read_document_body(verb, body);
  // The driver routes what `explain` asks about with both flags: a plan needs neither.
  if ((call.flags & (HG_CALL_STREAM | HG_CALL_UPLOAD)) == HG_CALL_STREAM && !v.streams)
    throw sdk::invalid(std::string(verb) + " does not stream");
  if (!fields.raw("if_version").empty())
    throw sdk::unsupported("replace_one: `if_version` is not supported by this store");
  for (const char* name : {"collection", "to"})
    if (!fields.raw(name).empty())
      touches.touch(verb, HG_TOUCH_COLLECTION, proto::bytes_of(fields.str(name)));
  sdk::Route r;
  const bool reads = v.access == "read";
  r.lane = reads ? kReadLane : kWriteLane;
  r.idempotent = reads || (verb == "replace_one" && is_by_id(fields.raw("filter")));
  r.alone = v.alone;
  r.digest = r.tag = digest_of(verb, fields);
  return r;
}

void DocumentKind::execute(std::string_view verb, Bytes body, const hg_call& call, Database& db,
                           sdk::Sink& sink, sdk::Done& done) {
  const DocumentVerb& v = doc::document_verb(verb);
  const sdk::Fields fields = doc::read_document_body(verb, body);
  DocumentCall c{
      verb, fields, call, db, sink, done, part_max_, doc::Store(db), doc::Watch(host_, &call, db)};
  const doc::SearchGuard guard([&] { c.watch.look(); });
  v.run(c);
}

void DocumentKind::explain(std::string_view verb, Bytes body, Database& db, sdk::Sink& sink) {
  const sdk::Fields fields = doc::read_document_body(verb, body);
  const hg_call call{};
  sdk::Done done;
  DocumentCall c{
      verb, fields, call, db, sink, done, part_max_, doc::Store(db), doc::Watch(host_, &call, db)};
  doc::explain_plan(c);
}

std::unique_ptr<Kind> make_document_kind(const hg_host* host, const hg_driver_config& config) {
  return std::make_unique<DocumentKind>(host, config);
}

void describe_document(proto::Writer& w) {
  constexpr VerbEntry kTransaction[] = {
      {"begin", "read"}, {"commit", "read"}, {"rollback", "read"}};
  constexpr std::string_view kCapabilities[] = {"transactions", "indexes", "aggregate", "hint",
                                                "cancel",       "explain", "streams"};
  constexpr std::pair<std::string_view, std::uint64_t> kLimits[] = {
      {"document_bytes", doc::kDocumentMax}, {"nesting", doc::kNestingMax},
      {"indexes", doc::kIndexesMax},         {"name_bytes", doc::kNameMax},
      {"sort_bytes", doc::kSortBytesMax},    {"array_gap", doc::kArrayGapMax}};
  w.map(4);
  w.str("kind");
  w.str("document");
  w.str("verbs");
  w.map(static_cast<std::uint32_t>(std::size(kVerbs) + std::size(kTransaction)));
  for (const DocumentVerb& v : kVerbs) describe_verb(w, {v.name, v.access, v.streams});
  for (const VerbEntry& v : kTransaction) describe_verb(w, v);
  w.str("capabilities");
  w.array(std::size(kCapabilities));
  for (const std::string_view c : kCapabilities) w.str(c);
  w.str("limits");
  w.map(std::size(kLimits));
  for (const auto& [name, value] : kLimits) {
    w.str(name);
    w.uint(value);
  }
}

}  // namespace headgate::sqlite
