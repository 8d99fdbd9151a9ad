# What the document kind needs beside SQLite; included by CMakeLists.txt once its library is there.
# Regular expressions are PCRE2's, as MongoDB's are.
find_package(PkgConfig REQUIRED)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
target_link_libraries(headgate_sqlite_document PUBLIC PkgConfig::PCRE2)
