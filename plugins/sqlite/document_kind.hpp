// DocumentKind answers the verbs of the document kind on SQLite.
//
// Owner:   the SqliteDriver. Threads: route from any, execute from the connections' workers; its
//          members are constant after construction.
#pragma once
#include "plugins/sqlite/document_scan.hpp"
#include "plugins/sqlite/document_wire.hpp"
#include "plugins/sqlite/kind.hpp"

namespace headgate::sqlite {

// One call at work.
struct DocumentCall {
  std::string_view verb;
  const sdk::Fields& body;
  const hg_call& call;
  Database& db;
  sdk::Sink& sink;
  sdk::Done& done;
  std::uint64_t part_max;
  doc::Store store;
  doc::Watch watch;

  // The body's field as a value; an empty document, or nothing, when it is absent.
  [[nodiscard]] doc::Value document(std::string_view field) const;
  [[nodiscard]] std::optional<doc::Value> value(std::string_view field) const;
  [[nodiscard]] std::string_view collection() const { return body.str("collection"); }
  // The query of a body with filter, sort, skip, limit and hint, as far as the verb has them.
  [[nodiscard]] doc::Query query() const;
};

// What is done to one matched or new document; the verbs of document_write.cpp and bulk_write.
struct WriteResult {
  std::int64_t inserted = 0, matched = 0, modified = 0, deleted = 0;
  std::optional<doc::Value> upserted_id;
};

class DocumentKind final : public Kind {
 public:
  DocumentKind(const hg_host* host, const hg_driver_config& config);
  void prepare(Database& db) override;
  sdk::Route route(std::string_view verb, proto::Bytes body, const hg_call& call,
                   const sdk::Touches& touches) override;
  void execute(std::string_view verb, proto::Bytes body, const hg_call& call, Database& db,
               sdk::Sink& sink, sdk::Done& done) override;
  void explain(std::string_view verb, proto::Bytes body, Database& db, sdk::Sink& sink) override;

 private:
  const hg_host* host_;
  std::uint64_t part_max_;
};

namespace doc {

using Handler = void (*)(DocumentCall&);
struct DocumentVerb {
  std::string_view name;
  std::string_view access;
  bool streams;
  bool alone;  // slow by nature: not in one commit with others
  Handler run;
};

// The table of verbs, in the order of verbs.json.
std::span<const DocumentVerb> document_verbs();
const DocumentVerb& document_verb(std::string_view name);  // throws unsupported

// Reads a body: the fields that the verb has, each of its type. Throws Error.
sdk::Fields read_document_body(std::string_view verb, proto::Bytes body);

// document_read.cpp
void run_find(DocumentCall& c);
void run_find_one(DocumentCall& c);
void run_count(DocumentCall& c);
void run_estimated_count(DocumentCall& c);
void run_distinct(DocumentCall& c);
void run_aggregate(DocumentCall& c);
void explain_plan(DocumentCall& c);
// document_write.cpp
void run_insert_one(DocumentCall& c);
void run_insert_many(DocumentCall& c);
void run_replace_one(DocumentCall& c);
void run_update(DocumentCall& c);  // update_one, update_many
void run_delete(DocumentCall& c);  // delete_one, delete_many
// document_modify.cpp
void run_find_and_modify(DocumentCall& c);  // find_one_and_*
// document_bulk.cpp
void run_bulk_write(DocumentCall& c);
// document_catalogue.cpp
void run_create_index(DocumentCall& c);
void run_drop_index(DocumentCall& c);
void run_list_indexes(DocumentCall& c);
void run_list_collections(DocumentCall& c);
void run_create_collection(DocumentCall& c);
void run_drop_collection(DocumentCall& c);
void run_rename_collection(DocumentCall& c);

// Parts of writing that several verbs share. Each changes a whole document or throws.
Value insert_document(DocumentCall& c, Collection& to, Value document);  // returns its _id
WriteResult update_documents(DocumentCall& c, const Value& filter, const Value& update, bool many,
                             bool upsert);
WriteResult replace_document(DocumentCall& c, const Value& filter, const Value& replacement,
                             bool upsert);
WriteResult delete_documents(DocumentCall& c, const Value& filter, bool many);
// A replacement with the _id of what it replaces. Throws Error for operators or another _id.
Value as_replacement(const Value& replacement, const Value* before);
// Upserts a document made of the filter and an update or a replacement; returns it.
Value upsert_document(DocumentCall& c, Collection& to, const Value& filter, const Value* update,
                      const Value* replacement);
std::int64_t now_ms();

// Errors that belong to one document: a bulk goes on after them, or stops with what it has done.
bool is_document_error(const sdk::Error& e);
struct WriteError {
  std::int64_t index;
  sdk::Error error;
};
void write_errors(proto::Writer& w, const std::vector<WriteError>& errors);
[[noreturn]] void fail_partly(const sdk::Error& first, bool changed);

}  // namespace doc
}  // namespace headgate::sqlite
