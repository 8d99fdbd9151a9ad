# Makes a header of proto/verbs.json: the command line carries the table it reads words by.
# cmake -DIN=verbs.json -DOUT=verbs_json.hpp -P embed.cmake
file(READ ${IN} text)
# A string literal has its limit; pieces are joined by the compiler.
string(LENGTH "${text}" length)
set(at 0)
set(pieces "")
while(at LESS length)
  string(SUBSTRING "${text}" ${at} 8000 piece)
  string(APPEND pieces "R\"_verbs_(${piece})_verbs_\"\n")
  math(EXPR at "${at} + 8000")
endwhile()
file(WRITE ${OUT} "// Generated from proto/verbs.json.\n#pragma once\n"
  "inline constexpr char kVerbsJson[] =\n${pieces};\n")
