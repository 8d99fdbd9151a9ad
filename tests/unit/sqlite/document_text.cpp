// See document_text.hpp.
#include "tests/unit/sqlite/document_text.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "plugins/sqlite/document_json.hpp"

namespace headgate::sqlite::doc {
namespace {

using Json = nlohmann::ordered_json;

Value convert(const Json& j) {
  switch (j.type()) {
    case Json::value_t::null:
      return {};
    case Json::value_t::boolean:
      return Value::boolean(j.get<bool>());
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned:
      return Value::integer(j.get<std::int64_t>());
    case Json::value_t::number_float:
      return Value::floating(j.get<double>());
    case Json::value_t::string:
      return Value::string(j.get<std::string>());
    case Json::value_t::array: {
      Array out;
      for (const Json& e : j) out.push_back(convert(e));
      return Value::array(std::move(out));
    }
    default:
      break;
  }
  if (j.contains("$re")) return Value::regex({j["$regex"], j.value("$options", "")});
  if (j.contains("$date")) return Value::date(j["$date"].get<std::int64_t>());
  for (const char* type : {"$numberLong", "$numberDouble", "$numberDecimal", "$numberInt", "$oid",
                           "$binary", "$timestamp", "$code", "$minKey", "$maxKey"})
    if (j.contains(type)) return parse_json(j.dump());
  Object out;
  for (const auto& [name, v] : j.items()) out.push_back({name, convert(v)});
  return Value::object(std::move(out));
}

}  // namespace

Value V(std::string_view text) {
  std::string s(text);
  std::replace(s.begin(), s.end(), '\'', '"');
  return convert(Json::parse(s));
}

std::string show(const Value& v) { return to_json(v); }
void PrintTo(const Value& v, std::ostream* out) { *out << to_json(v); }

}  // namespace headgate::sqlite::doc
