// Door: everything that a PostgreSQL server may say, and every value that a caller may give it. The
// first byte chooses: 0, a server's bytes in pieces; 1, [type, a value in binary]; 2, [type,
// msgpack]. Only ProtocolFault and sdk::Error may come out. Pieces change nothing; what is decoded
// is msgpack in good shape that encodes and decodes to itself; what is encoded can be decoded.
#include <algorithm>
#include <cstdlib>
#include <string>

#include "plugins/postgres/wire/errors.hpp"
#include "plugins/postgres/wire/parameter.hpp"
#include "plugins/postgres/wire/result.hpp"
#include "tests/unit/postgres_wire/support.hpp"

using namespace headgate;
using namespace headgate::postgres::wire;

namespace {

void must(bool b) {
  if (!b) std::abort();
}

std::string u32(std::uint32_t v) {
  std::string s(4, '\0');
  store32(reinterpret_cast<std::uint8_t*>(s.data()), v);
  return s;
}
std::string value(const std::string& s) { return u32(static_cast<std::uint32_t>(s.size())) + s; }
std::string list(Oid type, const std::vector<std::string>& items) {
  std::string s =
      u32(1) + u32(0) + u32(type) + u32(static_cast<std::uint32_t>(items.size())) + u32(1);
  for (const std::string& i : items) s += value(i);
  return items.empty() ? u32(0) + u32(0) + u32(type) : s;
}

// A row of the answer to TypeCatalog::lookup_sql().
void learn(TypeCatalog& c, Oid oid, char type, bool array, Oid inner,
           const std::vector<std::string>& names = {}, const std::vector<std::string>& types = {}) {
  std::string row("\0\11", 2);
  row += value(u32(oid)) + value("user") + value(std::string(1, type)) + value("\1");
  row += value(std::string(1, array ? '\1' : '\0')) + value(u32(inner)) + value("\xff\xff\xff\xff");
  row += value(list(25, names)) + value(list(26, types));
  c.learn(proto::bytes_of(row));
}

std::vector<TypePtr> all_types() {
  std::vector<TypePtr> types;
  for (Oid oid = 1; oid < 10'000; ++oid)
    if (TypePtr t = TypeCatalog::builtin(oid)) types.push_back(std::move(t));
  TypeCatalog c;
  learn(c, 20'000, 'e', false, 0);
  learn(c, 20'001, 'd', false, 23);
  learn(c, 20'002, 'c', false, 0, {"a", "b", "c"}, {u32(23), u32(25), u32(20'001)});
  learn(c, 20'003, 'b', true, 20'002);
  learn(c, 20'004, 'r', false, 701);
  learn(c, 20'005, 'm', false, 20'004);
  learn(c, 20'006, 'c', false, 0, {"p", "ps", "r"}, {u32(20'002), u32(20'003), u32(20'005)});
  for (Oid oid = 20'000; oid <= 20'006; ++oid) types.push_back(c.type(oid));
  return types;
}

const Type& type_at(std::uint8_t n) {
  static const std::vector<TypePtr> kTypes = all_types();
  return *kTypes[n % kTypes.size()];
}

// Types where a server's lie may have two forms of one value, or a list two meanings.
bool loose(const Type& t) {
  if (t.codec == Codec::float4 || t.codec == Codec::inet) return true;
  if (t.element == nullptr) return false;
  const Codec inner = t.element->codec;
  return loose(*t.element) || inner == Codec::vector || inner == Codec::array ||
         inner == Codec::multirange || inner == Codec::composite;
}

void as_value(const Type& type, Bytes bytes) {
  proto::VectorOut first;
  proto::Writer w(&first);
  if (type.format() == 0) return write_text(w, type, bytes);
  write_binary(w, type, bytes);
  must(proto::check(first.view(), 128, UINT32_MAX) == proto::Shape::good);
  if (loose(type) || !type.members.empty()) return;
  OutBuffer out;
  proto::Cursor c(first.view());
  must(encode_value(out, type, c, "value", Form::binary) == 1 && c.at_end());
  proto::VectorOut second;
  proto::Writer again(&second);
  write_binary(again, type, out.view().subspan(4));
  must(std::ranges::equal(first.view(), second.view()));
}

void as_parameter(const Type& type, Bytes bytes) {
  if (proto::check(bytes) != proto::Shape::good) return;  // the host has checked that
  OutBuffer out;
  proto::Cursor c(bytes);
  const int format = encode_value(out, type, c, "value");
  must(c.at_end() && out.size() >= 4);
  const std::uint32_t n = load32(out.view().data());
  if (n == 0xffffffff) return must(out.size() == 4);
  must(n == out.size() - 4);
  proto::VectorOut back;
  proto::Writer w(&back);
  if (format == 1) write_binary(w, type, out.view().subspan(4));
}

// What a connection does with a server's messages, in one number.
class Listener {
 public:
  void hear(const Message& m) {
    hash_ = hash_ * 31 + static_cast<std::uint8_t>(m.tag) + m.size * 7 + (m.oversize ? 1 : 0);
    if (m.oversize) return;
    try {
      read(m);
    } catch (const Unrepresentable& e) {
      must(!e.message.empty() && !e.sqlstate.empty());
    }
  }
  [[nodiscard]] std::uint64_t hash() const { return hash_; }

 private:
  void read(const Message& m) {
    switch (m.tag) {
      case Tag::row_description:
        plan_ =
            ResultPlan(m.payload, catalog_,
                       m.payload.size() % 2 == 0 ? ResultPlan::kBest : ResultPlan::kAsDescribed);
        must(proto::check(plan_.header(), 128, UINT32_MAX) == proto::Shape::good);
        return;
      case Tag::data_row:
        return row(m.payload);
      case Tag::copy_data:
        if (const auto r = copy_.row(m.payload)) row(*r);
        return;
      case Tag::error_response:
      case Tag::notice_response: {
        const Notice n = read_notice(m.payload);
        (void)effect_of(n);
        for (int where = 0; where <= static_cast<int>(Where::rollback); ++where) {
          const Verdict v = judge(n, {static_cast<Where>(where), where % 2 == 0});
          const sdk::Error e = error_of(v, n);
          must(proto::valid_utf8(e.message) && e.sqlstate.size() == 5);
          must(e.detail.empty() || proto::check(e.detail) == proto::Shape::good);
        }
        return;
      }
      case Tag::command_complete:
        (void)rows_affected(read_command_complete(m.payload));
        return;
      case Tag::function_call_response:  // we call none: its bytes serve as an answer about types
        return catalog_.learn(m.payload);
      default:
        return test::read_any(m);
    }
  }
  void row(Bytes payload) {
    proto::VectorOut out;
    proto::Writer w(&out);
    plan_.write_row(w, payload);
    must(proto::check(out.view(), 128, UINT32_MAX) == proto::Shape::good);
  }
  TypeCatalog catalog_;
  ResultPlan plan_;
  CopyBinaryReader copy_;
  std::uint64_t hash_ = 0;
};

std::uint64_t listen(Bytes bytes, std::size_t piece) {
  Reader reader({.buffer = 256, .hold_max = 4096, .message_max = 1 << 20});
  Listener listener;
  try {
    Message m;
    while (!bytes.empty()) {
      const auto room = reader.room();
      must(!room.empty() && room.size() <= 8192);
      const std::size_t n = std::min({room.size(), bytes.size(), piece});
      std::copy_n(bytes.begin(), n, room.begin());
      reader.received(n);
      bytes = bytes.subspan(n);
      while (reader.next(&m)) listener.hear(m);
    }
  } catch (const ProtocolFault& f) {
    must(*f.what() != '\0');
    return listener.hash() + 1;
  }
  return listener.hash();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const Bytes rest(data + 2, size - 2);
  try {
    if (data[0] % 3 == 0)
      must(listen(rest, SIZE_MAX) == listen(rest, 1u + data[1]));
    else if (data[0] % 3 == 1)
      as_value(type_at(data[1]), rest);
    else
      as_parameter(type_at(data[1]), rest);
  } catch (const ProtocolFault&) {
  } catch (const sdk::Error&) {
  }
  return 0;
}
