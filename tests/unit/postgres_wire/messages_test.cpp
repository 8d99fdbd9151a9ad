// Recorded conversations: whole, in pieces of every size, and cut at every byte.
#include <gtest/gtest.h>

#include <fstream>

#include "tests/unit/postgres_wire/support.hpp"

namespace headgate::postgres::wire::test {
namespace {

std::string line_of(const Message& m) {
  return std::string(1, static_cast<char>(m.tag)) + " " + std::to_string(m.size) + "\n";
}

std::string replay(const Input& bytes, std::size_t chunk, const Reader::Limits& limits = {}) {
  Reader reader(limits);
  std::string lines;
  feed(reader, bytes, chunk, [&](const Message& m) {
    read_any(m);
    lines += line_of(m);
  });
  EXPECT_EQ(reader.pending(), 0u);
  return lines;
}

std::string expected(const std::string& name) {
  const Input text = read_file(recorded_path("conversations/" + name + ".txt"));
  return {text.begin(), text.end()};
}

TEST(WireReader, EveryConversationInPiecesOfEverySize) {
  const auto names = conversation_names();
  ASSERT_GE(names.size(), 12u);
  Reader::Limits narrow;
  narrow.buffer = 64;
  for (const std::string& name : names) {
    const Input bytes = read_file(recorded_path("conversations/" + name + ".bin"));
    for (const std::size_t chunk : {SIZE_MAX, std::size_t{1}, std::size_t{7}, std::size_t{4096}}) {
      EXPECT_EQ(replay(bytes, chunk), expected(name)) << name << " by " << chunk;
      EXPECT_EQ(replay(bytes, chunk, narrow), expected(name)) << name << " by " << chunk;
    }
  }
}

TEST(WireReader, CutAnywhereItGivesWholeMessagesOnly) {
  for (const std::string& name : conversation_names()) {
    const Input bytes = read_file(recorded_path("conversations/" + name + ".bin"));
    const std::string all = expected(name);
    const std::size_t step = bytes.size() > 5000 ? 997 : 1;
    for (std::size_t cut = 0; cut < bytes.size(); cut += step) {
      Reader reader;
      std::string lines;
      feed(reader, Bytes(bytes.data(), cut), SIZE_MAX, [&](const Message& m) {
        read_any(m);
        lines += line_of(m);
      });
      ASSERT_TRUE(all.starts_with(lines)) << name << " at " << cut;
      ASSERT_LT(lines.size(), all.size()) << name << " at " << cut;
    }
  }
}

// The same payloads, shorter and longer than their contents: no view takes them.
TEST(WireMessages, ContentsCutAnywhereAreFaults) {
  for (const std::string& name : conversation_names()) {
    const Input bytes = read_file(recorded_path("conversations/" + name + ".bin"));
    Reader reader;
    feed(reader, bytes, SIZE_MAX, [&](const Message& m) {
      if (m.tag == Tag::copy_data || m.tag == Tag::authentication) return;
      const std::size_t step = m.payload.size() > 5000 ? 997 : 1;
      for (std::size_t n = 0; n < m.payload.size(); n += step) {
        const Input exact(m.payload.begin(), m.payload.begin() + static_cast<long>(n));
        EXPECT_THROW(read_any({m.tag, false, exact, n}), ProtocolFault) << line_of(m) << n;
      }
      Input longer(m.payload.begin(), m.payload.end());
      longer.push_back(0);
      EXPECT_THROW(read_any({m.tag, false, longer, longer.size()}), ProtocolFault) << line_of(m);
    });
  }
}

Input head(char tag, std::uint32_t length) {
  Input b(5);
  b[0] = static_cast<std::uint8_t>(tag);
  store32(b.data() + 1, length);
  return b;
}

void give(Reader& reader, const Input& bytes) {
  Message m;
  feed(reader, bytes, SIZE_MAX, [](const Message&) {});
  (void)reader.next(&m);
}

TEST(WireReader, LengthsThatLie) {
  for (const std::uint32_t length : {0u, 3u, 0x40000005u, 0x7fffffffu, 0x80000000u, 0xffffffffu}) {
    Reader reader;
    EXPECT_THROW(give(reader, head('D', length)), ProtocolFault) << length;
  }
  Reader other;
  EXPECT_THROW(give(other, head('E', (16u << 20) + 5)), ProtocolFault)
      << "only rows may be so long";
  Reader unknown;
  EXPECT_THROW(give(unknown, {'?'}), ProtocolFault) << "at the first byte";
}

TEST(WireReader, ALongAnnouncementCostsNoMemory) {
  Reader reader;
  give(reader, head('D', 16u << 20));
  EXPECT_LE(reader.room().size(), reader.limits().buffer);
}

TEST(WireReader, ARowAboveTheLimitPassesThrough) {
  const Input bytes = read_file(recorded_path("conversations/large.bin"));
  for (const std::size_t chunk : {SIZE_MAX, std::size_t{1}, std::size_t{1000}}) {
    Reader::Limits limits;
    limits.buffer = 1024;
    limits.hold_max = 4096;
    Reader reader(limits);
    std::string tags;
    feed(reader, bytes, chunk, [&](const Message& m) {
      tags += static_cast<char>(m.tag);
      EXPECT_EQ(m.oversize, m.tag == Tag::data_row);
      if (m.oversize) {
        EXPECT_EQ(m.size, 200'014u);
      }
      EXPECT_LE(reader.pending(), 4096u);
    });
    EXPECT_EQ(tags, "1tT2DCZ");
    EXPECT_EQ(reader.pending(), 0u);
    EXPECT_LE(reader.room().size(), 4096u);
  }
}

TEST(WireReader, MemoryOfALargeRowIsGivenBack) {
  Reader reader;
  give(reader, read_file(recorded_path("conversations/large.bin")));
  EXPECT_EQ(reader.room().size(), reader.limits().buffer);
}

TEST(WireMessages, CommandComplete) {
  const auto read = [](std::string tag) {
    tag.push_back('\0');
    static std::string keep;
    keep = tag;
    return read_command_complete(proto::bytes_of(keep));
  };
  EXPECT_EQ(rows_affected(read("INSERT 0 3")), 3);
  EXPECT_EQ(read("INSERT 0 3").command, "INSERT");
  EXPECT_EQ(rows_affected(read("UPDATE 0")), 0);
  EXPECT_EQ(rows_affected(read("CREATE TABLE")), 0);
  EXPECT_EQ(rows_affected(read("SELECT 5")), std::nullopt);
  EXPECT_EQ(read("SELECT 5").rows, 5);
  EXPECT_EQ(read("").command, "");
  EXPECT_THROW(read("UPDATE 99999999999999999999"), ProtocolFault);
  EXPECT_THROW(read("UPDATE -1"), ProtocolFault);
}

TEST(WireMessages, ErrorsHaveTheirFields) {
  Reader reader;
  std::vector<std::string> states;
  feed(reader, read_file(recorded_path("conversations/errors.bin")), SIZE_MAX,
       [&](const Message& m) {
         if (m.tag != Tag::error_response) return;
         const Notice n = read_notice(m.payload);
         EXPECT_EQ(n.severity, "ERROR");
         EXPECT_FALSE(n.fatal());
         EXPECT_FALSE(n.message.empty());
         states.emplace_back(n.sqlstate);
         if (n.sqlstate == "23505") {
           EXPECT_EQ(n.constraint, "t_pkey");
         }
         if (n.sqlstate == "42601") {
           EXPECT_EQ(n.position, "1");
         }
       });
  EXPECT_EQ(states, (std::vector<std::string>{"42601", "22012", "23505", "22P02", "26000"}));
}

TEST(WireMessages, BinaryCopy) {
  Reader reader;
  CopyBinaryReader copy;
  int outs = 0;
  std::size_t rows = 0;
  feed(reader, read_file(recorded_path("conversations/copy.bin")), SIZE_MAX, [&](const Message& m) {
    if (m.tag == Tag::copy_out_response) {
      ++outs;
      copy = {};
      EXPECT_EQ(read_copy_response(m.payload).binary, outs < 3);
    }
    if (outs == 0 || outs > 2) return;
    if (m.tag == Tag::copy_data)
      if (const auto row = copy.row(m.payload)) {
        DataRow d(*row);
        DataRow::Value v;
        EXPECT_EQ(d.count(), 3u);
        while (d.next(&v)) {
        }
        ++rows;
      }
    if (m.tag == Tag::copy_done) {
      EXPECT_TRUE(copy.ended());
    }
  });
  EXPECT_EQ(outs, 3);
  EXPECT_EQ(rows, 2u);
}

}  // namespace
}  // namespace headgate::postgres::wire::test
