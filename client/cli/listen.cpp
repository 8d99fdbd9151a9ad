// `headgate listen`: notifications of a store, a line each, until Ctrl-C.
#include <cstdio>

#include "cli.hpp"
#include "csv.hpp"
#include "json.hpp"
#include "table.hpp"

namespace headgate::cli {
namespace {

void print(const Notification& n, Format format) {
  switch (format) {
    case Format::json:
      std::printf(
          "%s\n",
          dump(Json{{"channel", n.channel}, {"payload", n.payload}, {"pid", n.pid}}).c_str());
      break;
    case Format::csv:
      std::fputs(csv_line({n.channel, n.payload, std::to_string(n.pid)}).c_str(), stdout);
      break;
    case Format::table:  // control characters are escaped: a notification is one line
      std::printf("%s\t%s\n", visible(n.channel).c_str(), visible(n.payload).c_str());
      break;
  }
  if (std::fflush(stdout) != 0) throw Usage("stdout cannot be written");
}

}  // namespace

int run_listen(Session& s, const ListenArgs& a) {
  Listener listener = s.client().sql(a.store).with(s.call_options()).listen(a.channels);
  const Interrupt::During during(s.interrupt(), [&listener] { listener.close(); });
  const Format format = s.options().format;
  if (format == Format::csv) std::fputs(csv_line({"channel", "payload", "pid"}).c_str(), stdout);
  std::fflush(stdout);
  std::fputs("(listening; Ctrl-C ends it)\n", stderr);
  std::uint64_t count = 0;
  while (const std::optional<Notification> n = listener.next()) {
    print(*n, format);
    if (++count == a.count) break;
  }
  return kOk;
}

}  // namespace headgate::cli
