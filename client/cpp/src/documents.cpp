#include "headgate/documents.hpp"

#include "engine.hpp"

namespace headgate {

Documents Documents::with(CallOptions o) const {
  o.tx = options_.tx;
  return {engine_, store_, std::move(o)};
}

Reply Documents::call(std::string_view verb, std::vector<std::uint8_t> body) const {
  CallOptions o = options_;
  o.fetch = 0;
  return engine_->run(engine_->make(detail::Call::Kind::plain, store_, verb, std::move(body), o));
}

Stream Documents::stream_of(std::string_view verb, std::vector<std::uint8_t> body) const {
  auto call = engine_->make(detail::Call::Kind::stream, store_, verb, std::move(body), options_);
  engine_->submit(call);
  return Stream(std::move(call));
}

std::vector<std::uint8_t> Documents::find_body(std::string_view collection,
                                               const std::vector<std::uint8_t>& filter,
                                               const FindOptions& o) {
  Doc d("collection", collection, "filter", Raw{filter});
  if (o.projection.has_value()) d.add("projection", *o.projection);
  if (o.sort.has_value()) d.add("sort", *o.sort);
  if (o.skip != 0) d.add("skip", o.skip);
  if (o.limit != 0) d.add("limit", o.limit);
  if (!o.hint.empty()) d.add("hint", o.hint);
  return pack(d);
}

Value Documents::field(std::string_view verb, std::vector<std::uint8_t> body,
                       std::string_view key) const {
  return Value::parse(call(verb, std::move(body)).body())[key];
}

std::int64_t Documents::number(std::string_view verb, std::vector<std::uint8_t> body,
                               std::string_view key) const {
  return field(verb, std::move(body), key).as<std::int64_t>();
}

UpdateResult Documents::updated(std::string_view verb, std::vector<std::uint8_t> body) const {
  const Value v = Value::parse(call(verb, std::move(body)).body());
  return {v["matched_count"].as<std::int64_t>(), v["modified_count"].as<std::int64_t>(),
          v["upserted_id"]};
}

// Its write errors come with the first one's code and the body all the same.
InsertManyResult Documents::inserted(std::vector<std::uint8_t> body) const {
  auto pending =
      engine_->make(detail::Call::Kind::plain, store_, "insert_many", std::move(body), options_);
  engine_->submit(pending);
  const Reply r = Pending(pending).wait();
  const Value v = Value::parse(r.body());
  if (!r.ok() && !v.is_map()) r.throw_unless_ok();
  InsertManyResult out;
  out.code = r.code;
  const Value ids = v["inserted_ids"];
  for (std::size_t i = 0; i < ids.size(); ++i) out.inserted_ids.push_back(ids.at(i));
  const Value errors = v["write_errors"];
  for (std::size_t i = 0; i < errors.size(); ++i) {
    const Value e = errors.at(i);
    out.write_errors.push_back(
        {e["index"].as<std::int64_t>(),
         proto::code_from(e["code"].as<std::uint64_t>()).value_or(Code::internal),
         e["message"].is_nil() ? "" : e["message"].as<std::string>()});
  }
  return out;
}

std::string Documents::create_index(std::string_view collection, const Doc& keys, bool unique,
                                    std::string_view name) const {
  Doc d("collection", collection, "keys", keys);
  if (unique) d.add("unique", true);
  if (!name.empty()) d.add("name", name);
  return field("create_index", pack(d), "name").as<std::string>();
}

void Documents::drop_index(std::string_view collection, std::string_view name) const {
  call("drop_index", body(collection, "name", name));
}

std::vector<Value> Documents::list_indexes(std::string_view collection) const {
  return list<Value>(call("list_indexes", body(collection)), "indexes");
}

std::vector<std::string> Documents::list_collections() const {
  std::vector<std::string> out;
  for (const Value& v : list<Value>(call("list_collections", pack(Doc())), "collections"))
    out.push_back(v["name"].as<std::string>());
  return out;
}

void Documents::create_collection(std::string_view collection) const {
  call("create_collection", body(collection));
}
void Documents::drop_collection(std::string_view collection) const {
  call("drop_collection", body(collection));
}
void Documents::rename_collection(std::string_view collection, std::string_view to) const {
  call("rename_collection", body(collection, "to", to));
}

}  // namespace headgate
