// Reading texts once.
#include "plugins/postgres/statements.hpp"

#include <algorithm>

#include "plugins/sdk/sql.hpp"

namespace headgate::postgres {
namespace {

constexpr std::uint32_t kQuickRuns = 8;  // in a row, until a slow statement may share again

std::string why_refused(const Scan& s) {
  if (s.empty) return "there is no statement in the text";
  if (s.second) return "one statement a request: something follows the semicolon";
  if (controls_transactions(s.first))
    return "`" + s.first + "` is no statement here: use the verbs begin, commit, rollback, ...";
  if (s.sets_transaction)
    return "SET TRANSACTION is no statement here: use the verb begin, and the option read_only";
  if (s.first == "copy") return "COPY is no statement here: use the verbs copy_in and copy_out";
  if (s.first == "listen" || s.first == "unlisten")
    return "`" + s.first + "` is no statement here: a connection serves many callers";
  if (s.places > 65535) return "a statement takes at most 65535 parameters";
  return {};
}

bool keeps_schema(std::string_view first) {
  for (const std::string_view w : {"set", "show", "reset", "explain", "lock", "notify", "analyze",
                                   "vacuum", "checkpoint", "declare", "fetch", "move", "close"})
    if (first == w) return true;
  return false;
}

}  // namespace

Statement::Statement(std::string_view sql, bool is_named, std::uint64_t k)
    : source(sql), named(is_named), key(k), digest(sdk::sql_digest(sql)) {
  Scan s = scan(sql, is_named);
  refusal = why_refused(s);
  text = std::move(s.text);
  names = std::move(s.names);
  places = s.places;
  plain = shareable_first(s.first) && !s.session;
  quiet = plain && !s.calls;
  returns_reads = s.first == "select" || s.first == "values" || s.first == "table";
  changes_schema = !shareable_first(s.first) && !keeps_schema(s.first);
  std::snprintf(name.data(), name.size(), "hg_%016llx", static_cast<unsigned long long>(k));
}

void Statement::set_slow() const {
  quick_.store(0, std::memory_order_relaxed);
  strike_.store(0, std::memory_order_relaxed);
  slow_.store(true, std::memory_order_relaxed);
}

void Statement::ran_slowly(std::uint64_t began_us, std::uint64_t noticed_us) const {
  std::uint64_t before = strike_.load(std::memory_order_relaxed);
  do {
    if (before != 0 && began_us < before >> 8) return;
    if (before != 0) return set_slow();
  } while (!strike_.compare_exchange_weak(before, noticed_us << 8 | kStrikeRuns,
                                          std::memory_order_relaxed));
}

void Statement::cool() const {
  std::uint64_t before = strike_.load(std::memory_order_relaxed);
  while (before != 0 &&
         !strike_.compare_exchange_weak(before, (before & 0xff) == 1 ? 0 : before - 1,
                                        std::memory_order_relaxed)) {
  }
}

void Statement::ran(std::uint64_t us, std::uint64_t slow_us) const {
  if (!is_slow()) return;
  if (us > slow_us)
    quick_.store(0, std::memory_order_relaxed);
  else if (quick_.fetch_add(1, std::memory_order_relaxed) + 1 >= kQuickRuns)
    slow_.store(false, std::memory_order_relaxed);
}

StatementPtr Statements::find(std::string_view sql, bool named) {
  if (sql.size() > kStatementBytesMax)
    throw sdk::Error(sdk::Code::too_large, sdk::Outcome::not_sent,
                     "a statement has at most 1 MiB of text");
  if (sql.find('\0') != std::string_view::npos) throw sdk::invalid("the statement holds a NUL");
  const std::uint64_t key = hash(sql, named ? 1 : 0);
  StatementPtr found;
  {
    const std::lock_guard lock(mutex_);
    const auto it = entries_.find(key);
    if (it != entries_.end() && it->second.statement->source == sql) {
      it->second.used = ++clock_;
      found = it->second.statement;
    }
  }
  if (found == nullptr) {
    found = std::make_shared<const Statement>(sql, named, key);
    const std::lock_guard lock(mutex_);
    if (entries_.size() >= kStatementsMax) shrink();
    entries_.insert_or_assign(key, Entry{found, ++clock_});
  }
  if (!found->refusal.empty()) throw sdk::invalid(found->refusal);
  return found;
}

// Forgets the older half.
void Statements::shrink() {
  std::vector<std::uint64_t> ages;
  ages.reserve(entries_.size());
  for (const auto& [key, entry] : entries_) ages.push_back(entry.used);
  const auto middle = ages.begin() + static_cast<std::ptrdiff_t>(ages.size() / 2);
  std::nth_element(ages.begin(), middle, ages.end());
  std::erase_if(entries_, [limit = *middle](const auto& e) { return e.second.used < limit; });
}

}  // namespace headgate::postgres
