// Recordings.
#include "tests/unit/postgres_wire/support.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace headgate::postgres::wire::test {

std::string recorded_path(const std::string& name) {
  return std::string(HEADGATE_SOURCE_DIR) + "/tests/unit/postgres_wire/recorded/" + name;
}

Input read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("no file " + path);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

Input from_hex(const std::string& hex) {
  Input out;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    out.push_back(static_cast<std::uint8_t>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  return out;
}

std::string to_hex(Bytes b) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  for (const std::uint8_t x : b) {
    out += kHex[x >> 4];
    out += kHex[x & 15];
  }
  return out;
}

std::vector<std::string> conversation_names() {
  std::vector<std::string> names;
  for (const auto& f : std::filesystem::directory_iterator(recorded_path("conversations")))
    if (f.path().extension() == ".bin") names.push_back(f.path().stem());
  std::sort(names.begin(), names.end());
  return names;
}

void feed(Reader& reader, Bytes bytes, std::size_t chunk,
          const std::function<void(const Message&)>& each) {
  Message m;
  while (!bytes.empty()) {
    const auto room = reader.room();
    const std::size_t n = std::min({room.size(), bytes.size(), chunk});
    std::copy_n(bytes.begin(), n, room.begin());
    reader.received(n);
    bytes = bytes.subspan(n);
    while (reader.next(&m)) each(m);
  }
}

void read_any(const Message& m) {
  switch (m.tag) {
    case Tag::row_description: {
      RowDescription d(m.payload);
      Field f;
      while (d.next(&f)) {
      }
      return;
    }
    case Tag::data_row: {
      DataRow d(m.payload);
      DataRow::Value v;
      while (d.next(&v)) {
      }
      return;
    }
    case Tag::parameter_description: {
      const ParameterDescription p(m.payload);
      for (std::size_t i = 0; i < p.count(); ++i) (void)p.type(i);
      return;
    }
    case Tag::command_complete:
      (void)read_command_complete(m.payload);
      return;
    case Tag::error_response:
    case Tag::notice_response:
      (void)read_notice(m.payload);
      return;
    case Tag::ready_for_query:
      (void)read_ready_for_query(m.payload);
      return;
    case Tag::parameter_status:
      (void)read_parameter_status(m.payload);
      return;
    case Tag::notification_response:
      (void)read_notification(m.payload);
      return;
    case Tag::copy_in_response:
    case Tag::copy_out_response:
    case Tag::copy_both_response:
      (void)read_copy_response(m.payload);
      return;
    case Tag::backend_key_data:
      (void)read_backend_key(m.payload);
      return;
    case Tag::negotiate_protocol_version:
      (void)read_negotiate_protocol_version(m.payload);
      return;
    case Tag::authentication:
    case Tag::copy_data:
    case Tag::function_call_response:
      return;
    default:
      return read_empty(m);
  }
}

TypeCatalog recorded_catalog() {
  TypeCatalog catalog;
  Reader reader;
  feed(reader, read_file(recorded_path("catalog.bin")), SIZE_MAX, [&](const Message& m) {
    if (m.tag == Tag::data_row) catalog.learn(m.payload);
  });
  return catalog;
}

}  // namespace headgate::postgres::wire::test
