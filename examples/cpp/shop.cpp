// A small shop on three stores: orders in SQL, a page counter in keys, reviews as documents.
//
//   shop [URL]     default: HEADGATE_URL, else the local socket
//
// The stores are those of etc/quickstart.toml; every run begins anew, so run it as often as you
// like.
#include <cstdlib>
#include <headgate/client.hpp>
#include <iostream>

using namespace std::chrono_literals;

// A row of the table: fields in the order of the columns.
struct Order {
  std::int64_t id;
  std::string customer;
  headgate::Decimal total;
  std::optional<std::string> note;
  MSGPACK_DEFINE(id, customer, total, note)
};

// A document: fields by their names.
struct Review {
  std::string item;
  int stars = 0;
  MSGPACK_DEFINE_MAP(item, stars)
};

static void sql(headgate::Client& gateway) {
  headgate::Sql db = gateway.sql("local-sql");
  db.execute("drop table if exists shop_orders");
  db.execute(
      "create table shop_orders (id integer primary key, customer text not null,"
      " total text not null, note text)");

  const std::vector<std::tuple<std::string, std::string, std::optional<std::string>>> orders = {
      {"ada", "12.50", "gift"}, {"alan", "99.00", {}}, {"grace", "7.25", {}}};
  const auto added =
      db.execute_many("insert into shop_orders (customer, total, note) values (?, ?, ?)", orders);
  std::cout << added.rows_affected << " orders\n";

  for (const auto& [customer, total] : db.query<std::tuple<std::string, std::string>>(
           "select customer, total from shop_orders where id > ? order by id", 1))
    std::cout << "  " << customer << " owes " << total << "\n";

  {
    headgate::Transaction tx = db.transaction();
    tx.execute("delete from shop_orders");
    std::cout << "deleted in a transaction that is left: rolled back\n";
  }
  headgate::Transaction tx = db.transaction();
  tx.execute("update shop_orders set note = ? where customer = ?", "paid", "alan");
  tx.commit();

  int n = 0;
  for (auto& [id, note] : db.stream<std::tuple<std::int64_t, std::optional<std::string>>>(
           "select id, note from shop_orders order by id"))
    n += note.has_value() ? 1 : 0;
  std::cout << n << " orders have a note\n";

  try {
    db.execute("insert into shop_orders (id, customer, total) values (1, 'x', '1')");
  } catch (const headgate::Error& e) {
    std::cout << "the store said: " << name(e.code()) << ", " << name(e.outcome()) << ", sqlstate "
              << e.sqlstate() << "\n";
  }
}

static void keys(headgate::Client& gateway) {
  headgate::KeyValue kv = gateway.key_value("local-kv");
  kv.remove("shop:hits");
  for (int i = 0; i < 3; ++i) kv.increment("shop:hits", 1, 60s);
  std::cout << kv.get("shop:hits").value_or("no") << " hits, gone in "
            << kv.ttl("shop:hits")->count() / 1000 << " s\n";
}

static void documents(headgate::Client& gateway) {
  headgate::Documents docs = gateway.documents("local-docs");
  docs.delete_many("shop_reviews", headgate::Doc());
  docs.insert_many("shop_reviews", std::vector<Review>{{"pen", 5}, {"ink", 2}, {"pen", 4}});
  using headgate::Doc;
  const std::vector<Doc> pipeline = {Doc("$group", Doc("_id", "$item", "n", Doc("$sum", 1))),
                                     Doc("$sort", Doc("_id", 1))};
  for (const headgate::Value& v : docs.aggregate("shop_reviews", pipeline))
    std::cout << "  " << v["_id"].as<std::string>() << ": " << v["n"].as<int>() << " reviews\n";
  const auto good = docs.find<Review>("shop_reviews", Doc("stars", Doc("$gte", 4)));
  std::cout << good.size() << " of them good\n";
}

// All three at once: one connection carries every call.
static void at_once(headgate::Client& gateway) {
  const std::vector<std::uint8_t> nothing = headgate::pack(headgate::Doc());
  std::vector<std::future<headgate::Reply>> pings;
  for (const headgate::StoreInfo& s : gateway.stores())
    if (s.kind != "admin") pings.push_back(gateway.call_async(s.name, "ping", nothing));
  for (auto& p : pings) p.get();
  std::cout << pings.size() << " stores answer\n";
}

int main(int argc, char** argv) {
  try {
    headgate::Client gateway(argc > 1 ? argv[1] : "");
    std::cout << "connected to " << gateway.address() << "\n";
    sql(gateway);
    keys(gateway);
    documents(gateway);
    at_once(gateway);
    return EXIT_SUCCESS;
  } catch (const headgate::Error& e) {
    std::cerr << "shop: " << e.what() << "\n";
    return EXIT_FAILURE;
  }
}
