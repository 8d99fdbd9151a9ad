// Store is how collections, documents and indexes lie in SQLite's tables.
//
//   headgate_doc_collections  number, name
//   headgate_doc_indexes      number, collection, name, keys, is_unique, multikey
//   headgate_doc_c<number>    id (order of insertion), key (of _id), body (canonical Extended JSON)
//   headgate_doc_x<number>    value (key of the indexed fields), id: one row for each array element
//
// Everything runs in the transaction that the connection holds, so a document and its index rows
// appear and vanish together.
// Owner:   a call; it holds no state but the connection. Threads: the connection's worker.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "plugins/sqlite/database.hpp"
#include "plugins/sqlite/document_sort.hpp"
#include "plugins/sqlite/document_value.hpp"

namespace headgate::sqlite::doc {

inline constexpr std::size_t kIndexesMax = 64;         // of a collection, MongoDB's number
inline constexpr std::size_t kNameMax = 120;           // bytes of a collection's or an index's name
inline constexpr std::size_t kIndexKeyMax = 1u << 20;  // bytes; what SQLite refuses is far above

struct Index {
  std::int64_t number = 0;  // 0: _id_, which lives in the collection's own table
  std::string name;
  std::vector<SortKey> order;
  bool unique = false;
  bool multikey = false;  // some document has, or had, an array on its way
};

struct Collection {
  std::int64_t number = 0;
  std::string name;
  std::vector<Index> indexes;  // _id_ first

  [[nodiscard]] std::string table() const { return "headgate_doc_c" + std::to_string(number); }
  // The table and the column in which an index's keys are.
  [[nodiscard]] std::string table(const Index& index) const {
    return index.number == 0 ? table() : "headgate_doc_x" + std::to_string(index.number);
  }
  [[nodiscard]] static const char* column(const Index& index) {
    return index.number == 0 ? "key" : "value";
  }
};

class Store {
 public:
  explicit Store(Database& db) : db_(db) {}

  static void prepare(Database& db);

  [[nodiscard]] std::optional<Collection> find(std::string_view name);
  Collection make(std::string_view name);  // throws `exists`
  Collection find_or_make(std::string_view name);
  void drop(const Collection& c);
  void rename(const Collection& c, std::string_view to);
  std::vector<std::string> names();
  std::int64_t count(const Collection& c);

  // Throws Error: `exists` for a unique key that is taken. After a throw nothing has changed.
  // REQUIRES: check_storable and check_id have passed.
  void insert(Collection& c, const Value& document);
  void replace(Collection& c, std::int64_t id, const Value& before, const Value& after);
  void remove(const Collection& c, std::int64_t id, const Value& document);
  std::optional<Value> read(const Collection& c, std::int64_t id);

  // Fills the new index from the documents there are; the same one again is no error. The name that
  // the index has.
  std::string make_index(Collection& c, Index index);
  void drop_index(const Collection& c, std::string_view name);

 private:
  struct Rows {
    const Index* index;
    Keys keys;
  };
  static Rows rows_of(const Collection& c, const Index& index, const Value& document);
  static std::vector<Rows> rows_of(const Collection& c, const Value& document);
  void check_unique(const Collection& c, const Rows& rows, std::int64_t self);
  void write_rows(Collection& c, const Rows& rows, std::int64_t id, const Keys* already);
  void erase_rows(const Collection& c, const Rows& rows, std::int64_t id, const Keys* keep);
  void set_multikey(Collection& c, const Index& index);
  Database& db_;
};

// Throws Error (invalid) for an _id that MongoDB refuses: an array, a regular expression,
// undefined.
void check_id(const Value& id);
void check_collection_name(std::string_view name);

}  // namespace headgate::sqlite::doc
