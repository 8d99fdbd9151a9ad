// headgate-conformance: runs the cases against a plugin, prints a table, JUnit and a matrix.
//
//   headgate-conformance --plugin x.so --profile my.toml            on the bare ABI
//   headgate-conformance --profile my.toml --through ipc:///...     through a running gateway
//
// Exit status: 0 all passed, 1 a case failed, 2 usage or the target could not be opened.
#include <fnmatch.h>
#include <toml++/toml.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <set>

#include "tests/conformance/case.hpp"

namespace headgate::conformance {
std::vector<std::string> violations_of(Target& target);  // bare_target.cpp

namespace {

enum class Verdict { passed, failed, expected_failure, not_declared };

struct Result {
  std::string name;
  Verdict verdict;
  std::string detail;
  double seconds = 0;
};

struct Profile {
  BareOptions bare;
  Json quirks = Json::object();
  std::string store;
  std::map<std::string, std::string> expected;  // case -> reason (third parties only)
};

Json from_toml(const toml::node& n) {
  if (auto* t = n.as_table()) {
    Json o = Json::object();
    for (auto&& [k, v] : *t) o[std::string(k.str())] = from_toml(v);
    return o;
  }
  if (auto* a = n.as_array()) {
    Json list = Json::array();
    for (auto&& v : *a) list.push_back(from_toml(v));
    return list;
  }
  if (auto* s = n.as_string()) return s->get();
  if (auto* i = n.as_integer()) return i->get();
  if (auto* d = n.as_floating_point()) return d->get();
  if (auto* b = n.as_boolean()) return b->get();
  throw std::runtime_error("a profile takes no dates");
}

Profile read_profile(const std::string& file) {
  Profile p;
  const toml::table t = toml::parse_file(file);
  for (auto&& [key, value] : t) {
    const std::string k(key.str());
    if (k == "kind")
      p.bare.kind = value.value_or("");
    else if (k == "store")
      p.store = value.value_or("");
    else if (k == "prepare_store")
      p.bare.prepare_store = value.value_or(false);
    else if (k == "endpoint")
      p.bare.endpoint = value.value_or("");
    else if (k == "options")
      p.bare.options = from_toml(value);
    else if (k == "statements")
      p.bare.statements = from_toml(value);
    else if (k == "quirks")
      p.quirks = from_toml(value);
    else if (k == "account")
      p.bare.account = value.value_or("");
    else if (k == "password_file") {
      std::ifstream in(value.value_or(""));
      std::getline(in, p.bare.password);
    } else if (k == "expected_failures") {
      for (auto&& [name, reason] : *value.as_table())
        p.expected[std::string(name.str())] = reason.value_or("");
    } else {
      throw std::runtime_error(file + ": unknown key `" + k + "`");
    }
  }
  return p;
}

bool declares(const Json& describe, const Case& c) {
  for (const std::string& v : c.verbs)
    if (!describe.at("verbs").contains(v)) return false;
  const Json caps = describe.value("capabilities", Json::array());
  for (const std::string& cap : c.capabilities)
    if (std::find(caps.begin(), caps.end(), cap) == caps.end()) return false;
  return true;
}

// A verb that is not declared must say so, whatever the body.
void expect_unsupported(Target& target, const Case& c) {
  auto caller = target.caller();
  for (const std::string& v : c.verbs) {
    if (target.describe().at("verbs").contains(v)) continue;
    const Reply r = caller->call(v, Json::object());
    if (r.code != Code::unsupported && !(r.code == Code::denied && !target.bare()))
      throw Failure("the verb `" + v + "` is not declared and must answer unsupported, got " +
                    show(r));
  }
}

Result run(const Case& c, Target& target, const Profile& profile, int number) {
  Result r{c.name, Verdict::passed, "", 0};
  const auto begun = std::chrono::steady_clock::now();
  const std::size_t broken_before = violations_of(target).size();
  try {
    if (!declares(target.describe(), c)) {
      expect_unsupported(target, c);
      r.verdict = Verdict::not_declared;
    } else {
      Context context{target, profile.quirks, profile.bare,
                      "c" + std::to_string(::getpid()) + "_" + std::to_string(number),
                      target.caller()};
      c.run(context);
    }
    const auto broken = violations_of(target);
    if (broken.size() > broken_before) throw Failure("rule of plugin.h broken: " + broken.back());
  } catch (const std::exception& e) {
    r.verdict = Verdict::failed;
    r.detail = e.what();
  }
  r.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  auto expected = profile.expected.find(c.name);
  if (expected != profile.expected.end()) {
    if (r.verdict == Verdict::failed) {
      r.verdict = Verdict::expected_failure;
      r.detail = expected->second + " (" + r.detail + ")";
    } else {
      r.verdict = Verdict::failed;
      r.detail = "it is listed under expected_failures and passes: remove it there";
    }
  }
  return r;
}

const char* word(Verdict v) {
  switch (v) {
    case Verdict::passed:
      return "passed";
    case Verdict::failed:
      return "FAILED";
    case Verdict::expected_failure:
      return "expected failure";
    case Verdict::not_declared:
      return "not declared";
  }
  return "?";
}

std::string xml(const std::string& s) {
  std::string out;
  for (char c : s) {
    if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '&')
      out += "&amp;";
    else if (c == '"')
      out += "&quot;";
    else if (static_cast<unsigned char>(c) < 32 && c != '\n')
      out += '?';
    else
      out += c;
  }
  return out;
}

void write_junit(const std::string& file, const std::vector<Result>& results,
                 const std::string& suite) {
  std::ofstream out(file);
  std::size_t failures = 0, skipped = 0;
  for (const Result& r : results) {
    failures += r.verdict == Verdict::failed;
    skipped += r.verdict == Verdict::not_declared || r.verdict == Verdict::expected_failure;
  }
  out << "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"" << xml(suite)
      << "\" tests=\"" << results.size() << "\" failures=\"" << failures << "\" skipped=\""
      << skipped << "\">\n";
  for (const Result& r : results) {
    out << "  <testcase classname=\"" << xml(suite) << "\" name=\"" << xml(r.name) << "\" time=\""
        << r.seconds << "\">";
    if (r.verdict == Verdict::failed)
      out << "<failure message=\"" << xml(r.detail) << "\"/>";
    else if (r.verdict != Verdict::passed)
      out << "<skipped message=\"" << xml(word(r.verdict)) << "\"/>";
    out << "</testcase>\n";
  }
  out << "</testsuite>\n";
}

void write_matrix(const std::string& file, const std::vector<Result>& results,
                  const Json& describe) {
  std::ofstream out(file);
  out << "# " << describe.value("product", "?") << ", kind " << describe.value("kind", "?")
      << "\n\n| case | verdict |\n|---|---|\n";
  for (const Result& r : results) out << "| `" << r.name << "` | " << word(r.verdict) << " |\n";
}

int main_(int argc, char** argv) {
  CLI::App app{"Proves that a storage plugin keeps Headgate's contract."};
  std::string plugin, profile_file, through, only = "*", junit, matrix, store;
  bool list = false;
  app.add_option("--plugin", plugin, "the plugin's .so, for the bare ABI");
  app.add_option("--profile", profile_file, "TOML: kind, options, quirks, expected_failures");
  app.add_option("--through", through, "URL of a running gateway: run through it instead");
  app.add_option("--store", store, "the store's name there (default: the profile's `store`)");
  std::string endpoint, account, password_file;
  app.add_option("--endpoint", endpoint, "the server's address, instead of the profile's");
  app.add_option("--account", account, "the login name, instead of the profile's");
  app.add_option("--password-file", password_file, "its password, instead of the profile's");
  app.add_option("--only", only, "cases whose name matches this pattern (kv.*)");
  app.add_option("--junit", junit, "write JUnit XML here");
  app.add_option("--matrix", matrix, "write the capability matrix (Markdown) here");
  app.add_flag("--list", list, "list the cases and stop");
  CLI11_PARSE(app, argc, argv);

  auto& all = cases();
  std::sort(all.begin(), all.end(), [](const Case& a, const Case& b) { return a.name < b.name; });
  for (std::size_t i = 1; i < all.size(); ++i)
    if (all[i].name == all[i - 1].name)
      throw std::runtime_error("two cases are called " + all[i].name);
  if (list) {
    for (const Case& c : all) std::printf("%s\n", c.name.c_str());
    return 0;
  }
  if (plugin.empty() == through.empty()) {
    std::fprintf(stderr, "headgate-conformance: give either --plugin FILE or --through URL\n");
    return 2;
  }
  Profile profile;
  std::string scratch;
  if (!profile_file.empty()) profile = read_profile(profile_file);
  if (!endpoint.empty()) profile.bare.endpoint = endpoint;
  if (!account.empty()) profile.bare.account = account;
  if (!password_file.empty()) {
    std::ifstream in(password_file);
    if (!in) throw std::runtime_error("cannot read " + password_file);
    std::getline(in, profile.bare.password);
  }
  std::unique_ptr<Target> target;
  if (!plugin.empty()) {
    char dir[] = "/tmp/headgate-conformance-XXXXXX";
    if (mkdtemp(dir) == nullptr) throw std::runtime_error("cannot make a directory under /tmp");
    scratch = profile.bare.state_dir = dir;
    profile.bare.plugin = std::filesystem::absolute(plugin);
    target = make_bare_target(profile.bare);
  } else {
    target = make_gateway_target(through, store.empty() ? profile.store : store);
  }

  std::vector<Result> results;
  int number = 0;
  for (const Case& c : all) {
    if (fnmatch(only.c_str(), c.name.c_str(), 0) != 0) continue;
    if (!c.kind.empty() && c.kind != target->describe().at("kind")) continue;
    if (c.bare_only && !target->bare()) continue;
    results.push_back(run(c, *target, profile, ++number));
    const Result& r = results.back();
    std::printf("%-34s %-16s %7.1f ms%s%s\n", r.name.c_str(), word(r.verdict), r.seconds * 1000,
                r.detail.empty() ? "" : "  ", r.detail.c_str());
    std::fflush(stdout);
  }
  if (!junit.empty())
    write_junit(junit, results, "conformance." + target->describe().value("kind", ""));
  if (!matrix.empty()) write_matrix(matrix, results, target->describe());
  std::size_t passed = 0, failed = 0, skipped = 0;
  for (const Result& r : results) {
    passed += r.verdict == Verdict::passed;
    failed += r.verdict == Verdict::failed;
    skipped += r.verdict == Verdict::not_declared || r.verdict == Verdict::expected_failure;
  }
  target.reset();
  if (!scratch.empty()) std::filesystem::remove_all(scratch);
  if (results.empty()) {
    std::fprintf(stderr, "headgate-conformance: no case matches `%s`\n", only.c_str());
    return 2;
  }
  std::printf("%zu passed, %zu failed, %zu skipped\n", passed, failed, skipped);
  return failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace headgate::conformance

int main(int argc, char** argv) {
  try {
    return headgate::conformance::main_(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "headgate-conformance: %s\n", e.what());
    return 2;
  }
}
