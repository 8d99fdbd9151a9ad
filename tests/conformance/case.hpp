// Cases: what a plugin must do, one function each, registered by name.
//
// A case is gated by what describe declares: `verbs` it needs and capabilities it needs. Declared:
// it must pass. Not declared: the verb must answer `unsupported`, which the runner checks by
// itself.
#pragma once
#include <functional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/conformance/target.hpp"

namespace headgate::conformance {

class Failure : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

// What a case gets: the target, a caller of its own, names that no other case uses, and quirks.
struct Context {
  Target& target;
  Json quirks;         // of the profile: type names, DDL, placeholders
  BareOptions bare;    // for cases that open drivers of their own (bare ABI only)
  std::string unique;  // e.g. "c17": prefix for tables, keys, collections
  std::unique_ptr<Caller> caller;
};

struct Case {
  std::string name;                // "kv.get_missing"
  std::string kind;                // "sql", "document", "key_value", or "" for all
  std::vector<std::string> verbs;  // that describe must declare
  std::vector<std::string> capabilities;
  bool bare_only = false;
  std::function<void(Context&)> run;
};

std::vector<Case>& cases();

struct Register {
  Register(std::string name, std::string kind, std::vector<std::string> verbs,
           std::vector<std::string> capabilities, std::function<void(Context&)> run,
           bool bare_only = false) {
    cases().push_back({std::move(name), std::move(kind), std::move(verbs), std::move(capabilities),
                       bare_only, std::move(run)});
  }
};

// Checks, each with what was seen.
std::string show(const Json& value);
std::string show(const Reply& reply);
void expect_ok(const Reply& reply, const char* where);
void expect_code(const Reply& reply, Code code, const char* where);
void expect_outcome(const Reply& reply, Outcome outcome, const char* where);
void expect_eq(const Json& seen, const Json& wanted, const char* where);
void expect(bool condition, const std::string& what);

}  // namespace headgate::conformance

// CASE(function, "kv.name", "key_value", V("get", "set"), V("ttl")) { body with Context& x }
template <class... S>
std::vector<std::string> V(S... s) {
  return {std::string(s)...};
}
#define CASE(id, name, kind, verbs, capabilities)                                               \
  static void id(::headgate::conformance::Context& x);                                          \
  static const ::headgate::conformance::Register register_##id(name, kind, verbs, capabilities, \
                                                               id);                             \
  static void id([[maybe_unused]] ::headgate::conformance::Context& x)
#define BARE_CASE(id, name, kind, verbs, capabilities)                                          \
  static void id(::headgate::conformance::Context& x);                                          \
  static const ::headgate::conformance::Register register_##id(name, kind, verbs, capabilities, \
                                                               id, true);                       \
  static void id([[maybe_unused]] ::headgate::conformance::Context& x)
