// SearchGuard lets a call's clock into regular expressions: one search is bounded by its steps, but
// a filter may search a million elements of one document.
//
// Owner:   DocumentKind, for the length of a call. Threads: it guards the thread that made it.
#pragma once
#include <functional>

namespace headgate::sqlite::doc {

class SearchGuard {
 public:
  // look: throws when the call must end.
  explicit SearchGuard(std::function<void()> look);
  ~SearchGuard();
  SearchGuard(const SearchGuard&) = delete;
  SearchGuard& operator=(const SearchGuard&) = delete;

  // Before each search of this thread.
  static void searching();

 private:
  std::function<void()> look_;
  SearchGuard* outer_;
  unsigned searches_ = 0;
};

}  // namespace headgate::sqlite::doc
