// Replays a committed corpus through one fuzz target: each input as it is, each of its prefixes,
// and mutations from a fixed seed, so that every test run knocks on the door a little.
//
// Environment: HEADGATE_FUZZ_MUTATIONS changes how many mutations an input gets.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Input = std::vector<std::uint8_t>;

std::vector<Input> corpus() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(HEADGATE_CORPUS))
    if (entry.is_regular_file()) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  std::vector<Input> out;
  for (const auto& f : files) {
    std::ifstream in(f, std::ios::binary);
    out.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  }
  return out;
}

// A copy of exactly the input's size, so that ASan sees a read one byte too far.
void knock(const Input& in, std::size_t size) {
  const auto exact = std::make_unique<std::uint8_t[]>(size);
  std::copy_n(in.data(), size, exact.get());
  LLVMFuzzerTestOneInput(exact.get(), size);
}

Input mutated(Input in, std::mt19937_64& random) {
  auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  for (std::size_t n = 1 + below(4); n > 0; --n) {
    if (in.empty()) in.push_back(0);
    const std::size_t at = below(in.size());
    switch (below(5)) {
      case 0:
        in[at] ^= static_cast<std::uint8_t>(1u << below(8));
        break;
      case 1:
        in[at] = static_cast<std::uint8_t>(random());
        break;
      case 2:
        in.erase(in.begin() + static_cast<std::ptrdiff_t>(at));
        break;
      case 3:
        in.insert(in.begin() + static_cast<std::ptrdiff_t>(at),
                  static_cast<std::uint8_t>(random()));
        break;
      default:
        in.resize(at);
        break;
    }
  }
  return in;
}

TEST(FuzzCorpus, Replays) {
  const std::vector<Input> inputs = corpus();
  ASSERT_FALSE(inputs.empty()) << "no corpus in " << HEADGATE_CORPUS;
  const char* wanted = std::getenv("HEADGATE_FUZZ_MUTATIONS");
  const int mutations = wanted != nullptr ? std::atoi(wanted) : 2000;
  std::mt19937_64 random(20240229);
  for (const Input& in : inputs) {
    knock(in, in.size());
    for (std::size_t n = 0; n < std::min<std::size_t>(in.size(), 4096); ++n) knock(in, n);
    if (in.size() > 65'536) continue;
    for (int i = 0; i < mutations; ++i) {
      const Input m = mutated(in, random);
      knock(m, m.size());
    }
  }
}

}  // namespace
