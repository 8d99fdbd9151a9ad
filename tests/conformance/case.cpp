#include "tests/conformance/case.hpp"

namespace headgate::conformance {

std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}

Json bin(std::string_view bytes) {
  return Json::binary(std::vector<std::uint8_t>(bytes.begin(), bytes.end()));
}

std::vector<std::uint8_t> to_bytes(const Json& value) { return Json::to_msgpack(value); }

Json from_bytes(proto::Bytes msgpack) {
  if (proto::check(msgpack) != proto::Shape::good)
    throw std::runtime_error("not one msgpack value");
  return Json::from_msgpack(msgpack.begin(), msgpack.end());
}

std::string show(const Json& value) {
  std::string text;
  if (value.is_binary()) {
    const auto& b = value.get_binary();
    text = "bytes(";
    for (std::size_t i = 0; i < b.size() && i < 64; ++i)
      text += b[i] >= 32 && b[i] < 127 ? std::string(1, static_cast<char>(b[i]))
                                       : "\\x" + std::to_string(b[i]);
    return text +
           (b.has_subtype() ? ", ext " + std::to_string(static_cast<int>(b.subtype())) : "") + ")";
  }
  text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  return text.size() > 400 ? text.substr(0, 400) + "..." : text;
}

std::string show(const Reply& r) {
  std::string text = std::string(proto::name(r.code)) + ", " + std::string(proto::name(r.outcome));
  if (!r.message.empty()) text += ", \"" + r.message + "\"";
  if (!r.sqlstate.empty()) text += ", sqlstate " + r.sqlstate;
  return text + ", body " + show(r.body);
}

void expect_ok(const Reply& r, const char* where) {
  if (!r.ok()) throw Failure(std::string(where) + ": expected ok, got " + show(r));
}
void expect_code(const Reply& r, Code code, const char* where) {
  if (r.code != code)
    throw Failure(std::string(where) + ": expected " + std::string(proto::name(code)) + ", got " +
                  show(r));
}
void expect_outcome(const Reply& r, Outcome outcome, const char* where) {
  if (r.outcome != outcome)
    throw Failure(std::string(where) + ": expected outcome " + std::string(proto::name(outcome)) +
                  ", got " + show(r));
}
void expect_eq(const Json& seen, const Json& wanted, const char* where) {
  if (seen != wanted)
    throw Failure(std::string(where) + ": expected " + show(wanted) + ", got " + show(seen));
}
void expect(bool condition, const std::string& what) {
  if (!condition) throw Failure(what);
}

}  // namespace headgate::conformance
