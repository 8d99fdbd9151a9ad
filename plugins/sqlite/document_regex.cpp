// PCRE2 behind Pattern; see document_regex.hpp.
#define PCRE2_CODE_UNIT_WIDTH 8
#include "plugins/sqlite/document_regex.hpp"

#include <pcre2.h>

#include "plugins/sqlite/document_error.hpp"
#include "plugins/sqlite/document_guard.hpp"

namespace headgate::sqlite::doc {
namespace {

constexpr std::size_t kPatternMax = 32764;        // MongoDB's
constexpr std::uint32_t kMatchLimit = 1'000'000;  // steps of one search; tens of milliseconds
constexpr std::uint32_t kDepthLimit = 10'000;
constexpr std::uint32_t kHeapLimitKib = 8 << 10;
constexpr std::uint32_t kParensMax = 200;

std::uint32_t flags_of(const std::string& options) {
  std::uint32_t flags = PCRE2_UTF | PCRE2_NO_UTF_CHECK;
  for (const char c : options) {
    switch (c) {
      case 'i':
        flags |= PCRE2_CASELESS;
        break;
      case 'm':
        flags |= PCRE2_MULTILINE;
        break;
      case 's':
        flags |= PCRE2_DOTALL;
        break;
      case 'x':
        flags |= PCRE2_EXTENDED;
        break;
      case 'u':
        break;  // UTF-8 is always on
      default:
        throw bad(std::string("$regex: unknown option `") + c + "`");
    }
  }
  return flags;
}

}  // namespace

struct Pattern::Compiled {
  pcre2_code* code = nullptr;
  pcre2_match_data* data = nullptr;
  pcre2_match_context* limits = nullptr;
  ~Compiled() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(limits);
    pcre2_code_free(code);
  }
};

Pattern::Pattern(const Regex& regex) : source_(regex), compiled_(std::make_shared<Compiled>()) {
  if (regex.pattern.size() > kPatternMax) throw bad("$regex: the pattern is too long");
  const std::uint32_t flags = flags_of(regex.options);
  pcre2_compile_context* context = pcre2_compile_context_create(nullptr);
  if (context == nullptr) throw std::bad_alloc();
  pcre2_set_parens_nest_limit(context, kParensMax);
  int code = 0;
  PCRE2_SIZE at = 0;
  // \C would match half a character, and with it leave UTF-8.
  compiled_->code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(regex.pattern.data()), regex.pattern.size(),
                    flags | PCRE2_NEVER_BACKSLASH_C, &code, &at, context);
  pcre2_compile_context_free(context);
  if (compiled_->code == nullptr) {
    char why[128] = "";
    pcre2_get_error_message(code, reinterpret_cast<PCRE2_UCHAR*>(why), sizeof why);
    throw bad("$regex: " + std::string(why) + " at byte " + std::to_string(at));
  }
  compiled_->data = pcre2_match_data_create(1, nullptr);
  compiled_->limits = pcre2_match_context_create(nullptr);
  if (compiled_->data == nullptr || compiled_->limits == nullptr) throw std::bad_alloc();
  pcre2_set_match_limit(compiled_->limits, kMatchLimit);
  pcre2_set_depth_limit(compiled_->limits, kDepthLimit);
  pcre2_set_heap_limit(compiled_->limits, kHeapLimitKib);
}

namespace {

constexpr unsigned kSearchesALook = 4;
thread_local SearchGuard* t_guard = nullptr;

}  // namespace

SearchGuard::SearchGuard(std::function<void()> look) : look_(std::move(look)), outer_(t_guard) {
  t_guard = this;
}
SearchGuard::~SearchGuard() { t_guard = outer_; }
void SearchGuard::searching() {
  if (t_guard != nullptr && ++t_guard->searches_ % kSearchesALook == 0) t_guard->look_();
}

bool Pattern::search(std::string_view text) const {
  SearchGuard::searching();
  const int rc =
      pcre2_match(compiled_->code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0,
                  PCRE2_NO_UTF_CHECK, compiled_->data, compiled_->limits);
  if (rc >= 0) return true;
  if (rc == PCRE2_ERROR_NOMATCH) return false;
  if (rc == PCRE2_ERROR_MATCHLIMIT || rc == PCRE2_ERROR_DEPTHLIMIT || rc == PCRE2_ERROR_HEAPLIMIT)
    throw bad("$regex: the pattern takes too many steps on a text of the collection");
  throw bad("$regex: the search failed (" + std::to_string(rc) + ")");
}

std::string Pattern::literal_prefix() const {
  // With `m` a ^ also stands after a newline; with i and x the letters are not what they seem.
  for (const char c : source_.options)
    if (c != 's' && c != 'u') return {};
  const std::string& p = source_.pattern;
  if (p.empty() || p[0] != '^' || p.find('|') != std::string::npos) return {};
  std::string prefix;
  std::size_t i = 1;
  for (; i < p.size(); ++i) {
    const auto c = static_cast<unsigned char>(p[i]);
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                       c == ' ' || c == '_' || c == '-' || c == '/' || c == ':' || c == '@' ||
                       c == ',';
    if (!plain) break;
    prefix += p[i];
  }
  // A quantifier makes the last character optional.
  if (i < p.size() && (p[i] == '*' || p[i] == '?' || p[i] == '{') && !prefix.empty())
    prefix.pop_back();
  return prefix;
}

}  // namespace headgate::sqlite::doc
