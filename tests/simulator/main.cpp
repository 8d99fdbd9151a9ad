// The simulator's command: many schedules, or one with a trace.
//
//   simulator [--schedules N] [--from SEED] [--processes P]   runs seeds SEED .. SEED+N-1
//   simulator --seed N                                        replays one, with its trace
//   simulator --mutation NAME [--schedules N]                 succeeds when it finds the planted
//   bug
//
// Exit: 0 when every schedule held (or the bug was found), 1 otherwise; the seed is printed.
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "daemon/policy/mutation.hpp"
#include "tests/simulator/world.hpp"

namespace headgate::policy {
#ifdef HEADGATE_MUTATIONS
Mutation planted = Mutation::none;
#endif
}  // namespace headgate::policy

namespace {

using headgate::simulator::Violation;
using headgate::simulator::World;

constexpr const char* kMutations[] = {"none",
                                      "two_leases_on_one_connection",
                                      "lost_waiter",
                                      "answer_twice",
                                      "repeat_unknown_writes",
                                      "drain_never_ends",
                                      "count_drifts",
                                      "starved_service",
                                      "lost_wake"};

struct Totals {
  std::uint64_t schedules = 0, events = 0, calls = 0, ok = 0, fewest_events = UINT64_MAX;
  std::uint64_t outcomes[5] = {};
  std::uint64_t retries = 0, late = 0, leases = 0, expired = 0, connects = 0, opened = 0, waits = 0,
                reroutes = 0, resets = 0;
};

// Empty: it held; else what was violated.
std::string run_one(std::uint64_t seed, bool trace, Totals& totals) {
  World world(seed, trace);
  try {
    world.run();
  } catch (const Violation& v) {
    return v.what();
  }
  const World::Figures& f = world.figures();
  ++totals.schedules;
  totals.events += f.events;
  totals.calls += f.calls;
  totals.ok += f.ok;
  if (f.events < totals.fewest_events) totals.fewest_events = f.events;
  for (int i = 0; i < 5; ++i) totals.outcomes[i] += f.outcomes[i];
  totals.retries += f.counters.retries;
  totals.late += f.counters.late;
  totals.leases += f.counters.leases;
  totals.expired += f.counters.leases_expired;
  totals.connects += f.counters.connects;
  totals.opened += f.counters.breaker_opened;
  totals.waits += f.counters.waits;
  totals.reroutes += f.counters.reroutes;
  totals.resets += f.counters.resets;
  if (f.events < 200 || f.services < 5) return "this schedule is too small to count";
  return {};
}

void print(const Totals& t) {
  std::printf(
      "%lu schedules, %.0f events each (at least %lu), %lu calls: %lu ok, "
      "not_sent %lu rejected %lu rolled_back %lu applied %lu unknown %lu\n"
      "retries %lu, late %lu, leases %lu (expired %lu), resets %lu, connects %lu, "
      "breaker opened %lu, waits %lu, reroutes %lu\n",
      t.schedules, static_cast<double>(t.events) / static_cast<double>(t.schedules),
      t.fewest_events, t.calls, t.ok, t.outcomes[0], t.outcomes[1], t.outcomes[2], t.outcomes[3],
      t.outcomes[4], t.retries, t.late, t.leases, t.expired, t.resets, t.connects, t.opened,
      t.waits, t.reroutes);
}

int run_many(std::uint64_t from, std::uint64_t n) {
  Totals totals;
  for (std::uint64_t seed = from; seed < from + n; ++seed) {
    const std::string what = run_one(seed, false, totals);
    if (!what.empty()) {
      std::printf("VIOLATED by schedule %lu: %s\nreplay: simulator --seed %lu\n", seed,
                  what.c_str(), seed);
      return 1;
    }
  }
  print(totals);
  return 0;
}

int run_processes(std::uint64_t from, std::uint64_t n, std::uint64_t processes) {
  int failed = 0;
  const std::uint64_t share = (n + processes - 1) / processes;
  for (std::uint64_t i = 0; i < processes; ++i) {
    std::fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
      const int result = run_many(from + i * share, share);
      std::fflush(stdout);
      _exit(result);
    }
    if (child < 0) return 1;
  }
  for (std::uint64_t i = 0; i < processes; ++i) {
    int status = 0;
    if (wait(&status) < 0 || status != 0) failed = 1;
  }
  return failed;
}

int find_mutation(const std::string& name, std::uint64_t from, std::uint64_t n) {
#ifdef HEADGATE_MUTATIONS
  for (std::size_t i = 1; i < std::size(kMutations); ++i) {
    if (name == kMutations[i])
      headgate::policy::planted = static_cast<headgate::policy::Mutation>(i);
  }
  if (headgate::policy::planted == headgate::policy::Mutation::none) {
    std::printf("no such mutation: %s\n", name.c_str());
    return 2;
  }
  Totals totals;
  for (std::uint64_t seed = from; seed < from + n; ++seed) {
    const std::string what = run_one(seed, false, totals);
    if (what.empty()) continue;
    std::printf("%s found by schedule %lu: %s\n", name.c_str(), seed, what.c_str());
    return 0;
  }
  std::printf("%s was NOT FOUND in %lu schedules\n", name.c_str(), n);
#else
  (void)from, (void)n;
  std::printf("this build has no planted bugs (%s)\n", name.c_str());
#endif
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  static_assert(std::size(kMutations) ==
                static_cast<std::size_t>(headgate::policy::Mutation::count));
  std::uint64_t schedules = 1000, processes = 1;
  std::uint64_t from = static_cast<std::uint64_t>(
      std::chrono::system_clock::now().time_since_epoch().count() % 1'000'000'007);
  std::string mutation;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string option = argv[i];
    const std::string value = argv[i + 1];
    if (option == "--seed") {
      Totals totals;
      const std::string what = run_one(std::strtoull(value.c_str(), nullptr, 10), true, totals);
      std::printf("%s\n", what.empty() ? "it held" : ("VIOLATED: " + what).c_str());
      return what.empty() ? 0 : 1;
    }
    if (option == "--schedules")
      schedules = std::strtoull(value.c_str(), nullptr, 10);
    else if (option == "--from")
      from = std::strtoull(value.c_str(), nullptr, 10);
    else if (option == "--processes")
      processes = std::strtoull(value.c_str(), nullptr, 10);
    else if (option == "--mutation")
      mutation = value;
    else
      return std::printf("unknown option %s\n", option.c_str()), 2;
  }
  if (!mutation.empty()) return find_mutation(mutation, from, schedules);
  std::printf("seeds from %lu\n", from);
  return processes <= 1 ? run_many(from, schedules) : run_processes(from, schedules, processes);
}
