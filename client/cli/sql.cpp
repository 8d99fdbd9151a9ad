// `headgate sql`: one statement, a file of them, a named one, or a prompt.
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>

#include "cli.hpp"
#include "json.hpp"
#include "output.hpp"
#include "proto/statements.hpp"

namespace headgate::cli {
namespace {

constexpr std::uint32_t kFetch = 1000;  // rows a part

std::string read_text(const std::string& file) {
  std::string text;
  if (file == "-") {
    text.assign(std::istreambuf_iterator<char>(std::cin), {});
    return text;
  }
  std::ifstream in(file, std::ios::binary);
  text.assign(std::istreambuf_iterator<char>(in), {});
  if (!in.is_open() || in.bad()) throw Usage(file + " cannot be read: " + std::strerror(errno));
  return text;
}

std::vector<std::uint8_t> statement(std::string_view field, const std::string& text,
                                    const std::string& params) {
  Doc doc(field, text);
  if (params.empty()) return pack(doc);
  const Json v = parse_json(params, "--params");
  if (!v.is_array() && !v.is_object()) {
    throw Usage("--params: expected a JSON array for ? and $1, or an object for :name");
  }
  const auto packed = pack_json(v);
  doc.add("params", Raw{packed});
  return pack(doc);
}

// Rows as they come: a result of any size, in flat memory.
int run_rows(Session& s, const SqlArgs& a, std::string_view verb, Bytes body, CallOptions o) {
  RowsWriter rows(s.options().format);
  if (o.fetch == 0) o.fetch = kFetch;
  const Reply r = s.stream(a.store, verb, body, o, [&rows](Bytes piece) { rows.piece(piece); });
  rows.end(r.meta);
  return kOk;
}

// Statements of a file, all in one transaction when asked for.
int run_file(Session& s, const SqlArgs& a) {
  proto::Cut parts = proto::cut(read_text(a.file));
  if (!parts.rest.empty()) parts.statements.push_back(parts.rest);
  if (parts.statements.empty()) throw Usage(a.file + " holds no statement");
  if (parts.statements.size() > 1 && !a.params.empty()) {
    throw Usage("--params goes with one statement; " + a.file + " holds " +
                std::to_string(parts.statements.size()));
  }
  if (!a.words.key.empty() && parts.statements.size() > 1) {
    throw Usage("--key goes with one statement");
  }
  if (!a.transaction) {
    for (const std::string& text : parts.statements) run_text(s, a, text, 0);
    return kOk;
  }
  const auto nothing = pack(Doc());
  const Reply begun = s.done(a.store, "begin", nothing, s.call_options(a.words));
  try {
    for (const std::string& text : parts.statements) run_text(s, a, text, begun.id);
  } catch (...) {
    s.call(a.store, "rollback", nothing, s.call_options({}, begun.id));
    throw;
  }
  s.done(a.store, "commit", nothing, s.call_options({}, begun.id));
  return kOk;
}

}  // namespace

int run_text(Session& s, const SqlArgs& a, const std::string& text, std::uint64_t tx) {
  const auto body = statement("sql", text, a.params);
  const CallOptions o = s.call_options(a.words, tx);
  if (proto::is_query(text)) return run_rows(s, a, "query", body, o);
  const Reply r = s.done(a.store, "execute", body, o);
  RowsWriter rows(s.options().format);
  rows.piece(r.body());
  rows.end(r.meta);
  return kOk;
}

int run_sql(Session& s, const SqlArgs& a) {
  const int given = !a.text.empty() + !a.file.empty() + !a.run.empty() + !a.import.empty();
  if (given > 1) throw Usage("expected one of TEXT, --file, --run and --import");
  if (!a.import.empty()) return run_import(s, a);
  if (!a.into.empty()) throw Usage("--into goes with --import");
  if (!a.file.empty()) return run_file(s, a);
  if (!a.run.empty()) {
    return run_rows(s, a, "run", statement("name", a.run, a.params), s.call_options(a.words));
  }
  if (a.text.empty() && ::isatty(0) != 0) return run_prompt(s, a);
  SqlArgs from_file = a;
  if (a.text.empty()) {
    from_file.file = "-";
    return run_file(s, from_file);
  }
  if (a.transaction) throw Usage("--tx goes with --file; one statement is a transaction by itself");
  return run_text(s, a, a.text, 0);
}

}  // namespace headgate::cli
