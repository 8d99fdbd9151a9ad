// The scanner: one pass over the bytes.
#include "plugins/postgres/text.hpp"

#include <algorithm>
#include <cstring>

namespace headgate::postgres {
namespace {

// Names by which a statement reaches into its session. A trailing * matches a prefix.
constexpr std::string_view kSessionWords[] = {"currval",
                                              "dblink*",
                                              "lastval",
                                              "lo_*",
                                              "loread",
                                              "lowrite",
                                              "pg_advisory_*",
                                              "pg_cursors",
                                              "pg_export_snapshot",
                                              "pg_listening_channels",
                                              "pg_prepared_statements",
                                              "pg_replication_origin*",
                                              "pg_temp*",
                                              "pg_try_advisory_*",
                                              "set_config",
                                              "setseed",
                                              "temp",
                                              "temporary"};

// What may stand before a bracket and is no function, and functions that only compute.
constexpr std::string_view kHarmless =
    " abs all and any array array_agg array_length as avg between bigint bit bool_and "
    "bool_or by case cast ceil char char_length character check coalesce concat "
    "concat_ws conflict count cube current_timestamp date_part date_trunc decimal decode "
    "default dense_rank distinct else encode except exists exp extract filter "
    "first_value float floor for format from generate_series greatest grouping having "
    "ilike in initcap intersect interval is join json_agg json_build_array "
    "json_build_object jsonb_agg jsonb_build_array jsonb_build_object jsonb_set key lag "
    "last_value lateral lead least left length like limit ln log lower lpad ltrim "
    "materialized max md5 min mod not now nth_value nullif numeric of offset on or over "
    "overlay partition position power random rank recursive regexp_replace repeat "
    "replace returning reverse right rollup round row row_number row_to_json rows rpad "
    "rtrim select set sets sign some split_part sqrt stddev string_agg strpos substr "
    "substring sum then time timestamp timestamptz to_char to_date to_json to_jsonb "
    "to_number to_timestamp trim trunc union unnest upper using values varchar variance "
    "varying when where width_bucket with within ";

bool is_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_word(char c) { return is_start(c) || is_digit(c) || c == '$'; }
bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}
bool is_operator(char c) { return std::strchr("+-*/<>=~!@#%^&|`?", c) != nullptr && c != '\0'; }

std::string lowered(std::string_view s) {
  std::string out(s);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return out;
}

bool names_session(std::string_view word) {
  for (const std::string_view s : kSessionWords) {
    if (s.ends_with('*') ? word.starts_with(s.substr(0, s.size() - 1)) : word == s) return true;
  }
  return false;
}

bool harmless(std::string_view word) {
  return kHarmless.find(" " + std::string(word) + " ") != std::string_view::npos;
}

class Scanner {
 public:
  Scanner(std::string_view sql, bool named) : s_(sql), named_(named) {}

  Scan run() {
    dollars_ = !named_ && has_dollar_places();
    while (i_ < s_.size()) step();
    out_.text.append(s_.substr(copied_));
    if (named_)
      out_.style = Places::named;
    else if (dollars_)
      out_.style = Places::dollar;
    else
      out_.style = out_.places > 0 ? Places::question : Places::none;
    if (named_) out_.places = static_cast<std::uint32_t>(out_.names.size());
    return std::move(out_);
  }

 private:
  [[nodiscard]] char at(std::size_t i) const { return i < s_.size() ? s_[i] : '\0'; }

  // Strings, quoted names and comments: where they end. 0: nothing of the kind begins at i_.
  [[nodiscard]] std::size_t skipped() const {
    const char c = s_[i_];
    if (c == '\'') return string_end(i_, false);
    if (c == '"') return quoted_end('"', i_);
    if (c == '-' && at(i_ + 1) == '-') return std::min(s_.find('\n', i_), s_.size());
    if (c == '/' && at(i_ + 1) == '*') return comment_end();
    if (c == '$') return dollar_quote_end();
    return 0;
  }
  [[nodiscard]] std::size_t string_end(std::size_t from, bool escapes) const {
    for (std::size_t k = from + 1; k < s_.size(); ++k) {
      if (escapes && s_[k] == '\\') {
        ++k;
      } else if (s_[k] == '\'') {
        if (at(k + 1) != '\'') return k + 1;
        ++k;
      }
    }
    return s_.size();
  }
  [[nodiscard]] std::size_t quoted_end(char quote, std::size_t from) const {
    for (std::size_t k = from + 1; k < s_.size(); ++k) {
      if (s_[k] != quote) continue;
      if (at(k + 1) != quote) return k + 1;
      ++k;
    }
    return s_.size();
  }
  [[nodiscard]] std::size_t comment_end() const {
    int depth = 0;
    for (std::size_t k = i_; k < s_.size(); ++k) {
      if (s_[k] == '/' && at(k + 1) == '*') {
        ++depth;
        ++k;
      } else if (s_[k] == '*' && at(k + 1) == '/') {
        ++k;
        if (--depth == 0) return k + 1;
      }
    }
    return s_.size();
  }
  // $$...$$ or $tag$...$tag$; 0: it is a place or a plain dollar.
  [[nodiscard]] std::size_t dollar_quote_end() const {
    std::size_t k = i_ + 1;
    if (is_digit(at(k))) return 0;
    while (k < s_.size() && is_word(s_[k]) && s_[k] != '$') ++k;
    if (at(k) != '$') return 0;
    const std::string_view tag = s_.substr(i_, k + 1 - i_);
    const std::size_t end = s_.find(tag, k + 1);
    return end == std::string_view::npos ? s_.size() : end + tag.size();
  }

  bool has_dollar_places() {
    bool found = false;
    while (i_ < s_.size()) {
      if (const std::size_t end = skipped(); end > i_) {
        i_ = end;
      } else if (is_start(s_[i_])) {
        word_end();
      } else if (s_[i_] == '$' && is_digit(at(i_ + 1))) {
        found = true;
        break;
      } else {
        ++i_;
      }
    }
    i_ = 0;
    return found;
  }

  // Moves past the word at i_, and past the string when the word is its prefix (E'', U&'').
  std::string_view word_end() {
    const std::size_t begin = i_;
    while (i_ < s_.size() && is_word(s_[i_])) ++i_;
    const std::string_view w = s_.substr(begin, i_ - begin);
    if (at(i_) == '\'' && w.size() == 1) i_ = string_end(i_, w == "e" || w == "E");
    return w;
  }

  void step() {
    const char c = s_[i_];
    if (is_space(c)) {
      ++i_;
      return;
    }
    if (const std::size_t end = skipped(); end > i_) {
      const bool comment = c == '-' || c == '/';
      if (!comment) token();
      if (c == '"') {
        word(lowered(s_.substr(i_ + 1, end - i_ - 2)));
        i_ = end;
        return;
      }
      if (!comment) last_.clear();
      i_ = end;
      return;
    }
    if (is_start(c)) {
      const std::size_t before = i_;
      const std::string_view w = word_end();
      token();
      if (before + w.size() == i_) word(lowered(w));
      return;
    }
    if (c == ';') {
      ended_ = ended_ || !out_.empty;
      ++i_;
      return;
    }
    if (c != '(' || !out_.empty) token();
    punctuation(c);
  }

  void token() {
    if (ended_) out_.second = true;
    out_.empty = false;
  }

  void word(std::string w) {
    if (out_.first.empty()) out_.first = w;
    if (names_session(w)) out_.session = true;
    if (out_.first == "set" &&
        (w == "transaction" || w == "characteristics" || w.starts_with("transaction_")))
      out_.sets_transaction = true;
    before_last_ = std::move(last_);
    last_ = std::move(w);
  }

  void punctuation(char c) {
    if (c == '(') {
      // `insert into t (a, b)` and `t as (...)` are no calls.
      if (!last_.empty() && !harmless(last_) && before_last_ != "into") out_.calls = true;
      last_.clear();
      ++i_;
    } else if (c == '$' && is_digit(at(i_ + 1))) {
      dollar_place();
    } else if (c == '?' && !named_ && !dollars_) {
      question();
    } else if (c == ':' && named_) {
      colon();
    } else {
      // `schema.function(`: the word before the point is of no interest.
      if (c != '.') last_.clear();
      ++i_;
    }
  }

  void dollar_place() {
    std::size_t k = i_ + 1;
    std::uint64_t n = 0;
    while (k < s_.size() && is_digit(s_[k]) && n < 100'000) n = n * 10 + (s_[k++] - '0');
    if (!named_) out_.places = std::max(out_.places, static_cast<std::uint32_t>(n));
    last_.clear();
    i_ = k;
  }

  void question() {
    last_.clear();
    if (at(i_ + 1) == '?') {  // ?? is the operator ?
      out_.text.append(s_.substr(copied_, i_ + 1 - copied_));
      i_ += 2;
      copied_ = i_;
      return;
    }
    const char before = i_ == 0 ? ' ' : s_[i_ - 1];
    const char after = at(i_ + 1);
    if (after == '|' || after == '&' || is_operator(before)) {
      if (!(before == '=' || before == '<' || before == '>' || before == '+' || before == '-' ||
            before == '*' || before == '/' || before == '%') ||
          after == '|' || after == '&') {
        ++i_;
        return;
      }
    }
    place(++out_.places, i_ + 1);
  }

  void colon() {
    last_.clear();
    if (at(i_ + 1) == ':') {
      i_ += 2;
      return;
    }
    if (!is_start(at(i_ + 1))) {
      ++i_;
      return;
    }
    std::size_t k = i_ + 1;
    while (k < s_.size() && is_word(s_[k]) && s_[k] != '$') ++k;
    const std::string_view name = s_.substr(i_ + 1, k - i_ - 1);
    const auto it = std::find(out_.names.begin(), out_.names.end(), name);
    const auto n = static_cast<std::uint32_t>(it - out_.names.begin()) + 1;
    if (it == out_.names.end()) out_.names.emplace_back(name);
    place(n, k);
  }

  void place(std::uint32_t n, std::size_t end) {
    out_.text.append(s_.substr(copied_, i_ - copied_));
    out_.text += '$';
    out_.text += std::to_string(n);
    // `?and`, `:a` beside a digit: the number must end.
    if (is_word(at(end))) out_.text += ' ';
    copied_ = i_ = end;
  }

  std::string_view s_;
  bool named_;
  bool dollars_ = false;
  bool ended_ = false;
  std::size_t i_ = 0;
  std::size_t copied_ = 0;
  std::string last_, before_last_;
  Scan out_;
};

}  // namespace

Scan scan(std::string_view sql, bool named) { return Scanner(sql, named).run(); }

bool controls_transactions(std::string_view first) {
  for (const std::string_view w :
       {"begin", "start", "commit", "end", "rollback", "abort", "savepoint", "release"})
    if (first == w) return true;
  return false;
}

bool shareable_first(std::string_view first) {
  for (const std::string_view w :
       {"select", "insert", "update", "delete", "merge", "values", "table", "with"})
    if (first == w) return true;
  return false;
}

std::uint64_t hash(std::string_view bytes, std::uint64_t seed) {
  const auto mix = [](std::uint64_t a, std::uint64_t b) {
    __extension__ using Wide = unsigned __int128;
    const Wide m = static_cast<Wide>(a) * b;
    return static_cast<std::uint64_t>(m) ^ static_cast<std::uint64_t>(m >> 64);
  };
  std::uint64_t h = seed ^ 0x9e3779b97f4a7c15ULL ^ bytes.size();
  const char* p = bytes.data();
  std::size_t n = bytes.size();
  for (; n >= 8; p += 8, n -= 8) {
    std::uint64_t v = 0;
    std::memcpy(&v, p, 8);
    h = mix(h ^ v, 0xe7037ed1a0b428dbULL);
  }
  std::uint64_t tail = 0;
  std::memcpy(&tail, p, n);
  return mix(h ^ tail, 0x8ebc6af09c88c6e3ULL);
}

}  // namespace headgate::postgres
