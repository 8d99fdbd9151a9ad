// bench-direct-postgres: one result read row by row with libpq, as a program without a gateway does
// it. Prints one line of JSON.
#include <libpq-fe.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <string>

int main(int argc, char** argv) {
  std::string dsn, sql;
  CLI::App app{"Reads one result with libpq's single-row mode."};
  app.add_option("--dsn", dsn)->required();
  app.add_option("--sql", sql)->required();
  CLI11_PARSE(app, argc, argv);
  PGconn* c = PQconnectdb(dsn.c_str());
  if (PQstatus(c) != CONNECTION_OK) {
    std::fprintf(stderr, "bench-direct-postgres: %s", PQerrorMessage(c));
    return 2;
  }
  const auto begun = std::chrono::steady_clock::now();
  if (PQsendQueryParams(c, sql.c_str(), 0, nullptr, nullptr, nullptr, nullptr, 0) == 0 ||
      PQsetSingleRowMode(c) == 0) {
    std::fprintf(stderr, "bench-direct-postgres: %s", PQerrorMessage(c));
    return 2;
  }
  unsigned long long rows = 0;
  unsigned long long bytes = 0;
  bool good = true;
  while (PGresult* r = PQgetResult(c)) {
    const ExecStatusType status = PQresultStatus(r);
    good = good && (status == PGRES_SINGLE_TUPLE || status == PGRES_TUPLES_OK);
    if (status == PGRES_SINGLE_TUPLE) {
      ++rows;
      for (int f = 0; f < PQnfields(r); ++f) {
        bytes += static_cast<unsigned long long>(PQgetlength(r, 0, f));
      }
    }
    PQclear(r);
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  if (!good) std::fprintf(stderr, "bench-direct-postgres: %s", PQerrorMessage(c));
  PQfinish(c);
  std::printf("{\"rows\": %llu, \"bytes\": %llu, \"seconds\": %.6f}\n", rows, bytes, seconds);
  return good ? 0 : 1;
}
