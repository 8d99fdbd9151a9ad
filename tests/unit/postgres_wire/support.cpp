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

TypeCatalog recorded_catalog() {
  TypeCatalog catalog;
  Reader reader;
  feed(reader, read_file(recorded_path("catalog.bin")), SIZE_MAX, [&](const Message& m) {
    if (m.tag == Tag::data_row) catalog.learn(m.payload);
  });
  return catalog;
}

}  // namespace headgate::postgres::wire::test
