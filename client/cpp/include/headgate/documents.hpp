// Documents is a store of kind `document`: collections of maps, with MongoDB's own filters,
// updates and pipelines.
//
// A document, a filter, an update is anything that packs to a map: headgate::Doc, a
// MSGPACK_DEFINE_MAP struct, std::map<std::string, ...>, headgate::Value. Documents come back as
// headgate::Value, or as a type of yours with MSGPACK_DEFINE_MAP.
//
// Threads: a Documents is a name and options; copy it freely.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "headgate/connection.hpp"
#include "headgate/value.hpp"

namespace headgate {

struct FindOptions {
  std::optional<Doc> projection;
  std::optional<Doc> sort;  // Doc("age", -1, "name", 1)
  std::int64_t skip = 0;
  std::int64_t limit = 0;  // 0: all
  std::string hint;        // name of an index
};

struct UpdateResult {
  std::int64_t matched_count = 0;
  std::int64_t modified_count = 0;
  Value upserted_id;
};

struct WriteError {
  std::int64_t index = 0;
  Code code = Code::internal;
  std::string message;
};

struct InsertManyResult {
  std::vector<Value> inserted_ids;  // nil where it failed
  std::vector<WriteError> write_errors;
  Code code = Code::ok;  // the first error's
};

// Documents as they come; an input range by next(). Memory stays flat however many there are.
template <class T>
class DocumentStream {
 public:
  explicit DocumentStream(Stream s) : stream_(std::move(s)) {}
  // The next document, valid until the call after; nullptr at the end. Throws Error.
  T* next() {
    while (at_ == documents_.size()) {
      const std::optional<Bytes> piece = stream_.next();
      if (!piece.has_value()) return nullptr;
      const msgpack::object_handle h = detail::parse(*piece);
      documents_.clear();
      at_ = 0;
      const msgpack::object* list = detail::field(h.get(), "documents");
      if (list == nullptr || list->type != msgpack::type::ARRAY) continue;
      for (std::uint32_t i = 0; i < list->via.array.size; ++i)
        documents_.push_back(detail::convert<T>(list->via.array.ptr[i]));
    }
    return &documents_[at_++];
  }
  void cancel() { stream_.cancel(); }

 private:
  Stream stream_;
  std::vector<T> documents_;
  std::size_t at_ = 0;
};

class Documents {
 public:
  Documents(std::shared_ptr<detail::Engine> engine, std::string store, CallOptions options = {})
      : engine_(std::move(engine)), store_(std::move(store)), options_(std::move(options)) {}
  [[nodiscard]] Documents with(CallOptions o) const;

  template <class D>
  Value insert_one(std::string_view collection, const D& document) const {
    return field("insert_one", body(collection, "document", document), "inserted_id");
  }
  // Ordered: stops at the first error. Errors of single documents are in the result, not thrown.
  template <class Ds>
  InsertManyResult insert_many(std::string_view collection, const Ds& documents,
                               bool ordered = true) const {
    return inserted(body(collection, "documents", documents, "ordered", ordered));
  }
  template <class T = Value, class F = Doc>
  std::vector<T> find(std::string_view collection, const F& filter = {},
                      const FindOptions& o = {}) const {
    return list<T>(call("find", find_body(collection, pack(filter), o)), "documents");
  }
  template <class T = Value, class F = Doc>
  DocumentStream<T> find_stream(std::string_view collection, const F& filter = {},
                                const FindOptions& o = {}) const {
    return DocumentStream<T>(stream_of("find", find_body(collection, pack(filter), o)));
  }
  template <class T = Value, class F = Doc>
  std::optional<T> find_one(std::string_view collection, const F& filter = {},
                            FindOptions o = {}) const {
    o.limit = 0;
    return optional<T>(call("find_one", find_body(collection, pack(filter), o)), "document");
  }
  template <class F, class D>
  UpdateResult replace_one(std::string_view collection, const F& filter, const D& replacement,
                           bool upsert = false) const {
    return updated("replace_one", body(collection, "filter", filter, "replacement", replacement,
                                       "upsert", upsert));
  }
  template <class F, class U>
  UpdateResult update_one(std::string_view collection, const F& filter, const U& update,
                          bool upsert = false) const {
    return updated("update_one",
                   body(collection, "filter", filter, "update", update, "upsert", upsert));
  }
  template <class F, class U>
  UpdateResult update_many(std::string_view collection, const F& filter, const U& update,
                           bool upsert = false) const {
    return updated("update_many",
                   body(collection, "filter", filter, "update", update, "upsert", upsert));
  }
  template <class F>
  std::int64_t delete_one(std::string_view collection, const F& filter) const {
    return number("delete_one", body(collection, "filter", filter), "deleted_count");
  }
  template <class F>
  std::int64_t delete_many(std::string_view collection, const F& filter) const {
    return number("delete_many", body(collection, "filter", filter), "deleted_count");
  }
  // return_document: the document before the change (default) or after it.
  template <class T = Value, class F, class U>
  std::optional<T> find_one_and_update(std::string_view collection, const F& filter,
                                       const U& update, bool after = false,
                                       bool upsert = false) const {
    return optional<T>(
        call("find_one_and_update", body(collection, "filter", filter, "update", update, "upsert",
                                         upsert, "return_document", after ? "after" : "before")),
        "document");
  }
  template <class T = Value, class F>
  std::optional<T> find_one_and_delete(std::string_view collection, const F& filter) const {
    return optional<T>(call("find_one_and_delete", body(collection, "filter", filter)), "document");
  }
  template <class F = Doc>
  std::int64_t count_documents(std::string_view collection, const F& filter = {}) const {
    return number("count_documents", body(collection, "filter", filter), "count");
  }
  [[nodiscard]] std::int64_t estimated_document_count(std::string_view collection) const {
    return number("estimated_document_count", body(collection), "count");
  }
  template <class T = Value, class F = Doc>
  std::vector<T> distinct(std::string_view collection, std::string_view key,
                          const F& filter = {}) const {
    return list<T>(call("distinct", body(collection, "key", key, "filter", filter)), "values");
  }
  // Each stage packs to a map: std::vector<Doc>{Doc("$match", ...), Doc("$group", ...)}.
  template <class T = Value, class Stages>
  std::vector<T> aggregate(std::string_view collection, const Stages& pipeline) const {
    return list<T>(call("aggregate", body(collection, "pipeline", pipeline)), "documents");
  }
  template <class T = Value, class Stages>
  DocumentStream<T> aggregate_stream(std::string_view collection, const Stages& pipeline) const {
    return DocumentStream<T>(stream_of("aggregate", body(collection, "pipeline", pipeline)));
  }
  // Returns the index's name.
  std::string create_index(std::string_view collection, const Doc& keys, bool unique = false,
                           std::string_view name = {}) const;
  void drop_index(std::string_view collection, std::string_view name) const;
  [[nodiscard]] std::vector<Value> list_indexes(std::string_view collection) const;
  [[nodiscard]] std::vector<std::string> list_collections() const;
  void create_collection(std::string_view collection) const;
  void drop_collection(std::string_view collection) const;
  void rename_collection(std::string_view collection, std::string_view to) const;

  [[nodiscard]] const std::string& store() const { return store_; }
  Reply call(std::string_view verb, std::vector<std::uint8_t> body) const;

 private:
  template <class... Pairs>
  static std::vector<std::uint8_t> body(std::string_view collection, const Pairs&... pairs) {
    return pack(Doc("collection", collection, pairs...));
  }
  static std::vector<std::uint8_t> find_body(std::string_view collection,
                                             const std::vector<std::uint8_t>& filter,
                                             const FindOptions& o);
  [[nodiscard]] Stream stream_of(std::string_view verb, std::vector<std::uint8_t> body) const;
  [[nodiscard]] Value field(std::string_view verb, std::vector<std::uint8_t> body,
                            std::string_view key) const;
  [[nodiscard]] std::int64_t number(std::string_view verb, std::vector<std::uint8_t> body,
                                    std::string_view key) const;
  [[nodiscard]] UpdateResult updated(std::string_view verb, std::vector<std::uint8_t> body) const;
  [[nodiscard]] InsertManyResult inserted(std::vector<std::uint8_t> body) const;

  template <class T>
  static std::vector<T> list(const Reply& r, std::string_view key) {
    const msgpack::object_handle h = detail::parse(r.body());
    std::vector<T> out;
    const msgpack::object* o = detail::field(h.get(), key);
    if (o == nullptr || o->type != msgpack::type::ARRAY) detail::no_form(h.get(), key);
    for (std::uint32_t i = 0; i < o->via.array.size; ++i)
      out.push_back(detail::convert<T>(o->via.array.ptr[i]));
    return out;
  }
  template <class T>
  static std::optional<T> optional(const Reply& r, std::string_view key) {
    const msgpack::object_handle h = detail::parse(r.body());
    const msgpack::object* o = detail::field(h.get(), key);
    if (o == nullptr || o->type == msgpack::type::NIL) return std::nullopt;
    return detail::convert<T>(*o);
  }

  std::shared_ptr<detail::Engine> engine_;
  std::string store_;
  CallOptions options_;
};

}  // namespace headgate
