# Compiler settings that hold for every target of this tree (but are not exported to users of the
# installed files). Interface target: headgate_options.
find_package(Threads REQUIRED)
find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE})
endif()

add_library(headgate_options INTERFACE)
target_include_directories(headgate_options INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_options(headgate_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wno-missing-field-initializers
  -fno-omit-frame-pointer -fstack-protector-strong)
if(NOT CMAKE_BUILD_TYPE STREQUAL "Debug" AND NOT HEADGATE_SANITIZE)
  target_compile_definitions(headgate_options INTERFACE _FORTIFY_SOURCE=2)
  target_link_options(headgate_options INTERFACE -Wl,-z,relro,-z,now)
endif()
if(HEADGATE_SANITIZE)
  target_compile_options(headgate_options INTERFACE -fsanitize=${HEADGATE_SANITIZE} -fno-sanitize-recover=undefined)
  target_link_options(headgate_options INTERFACE -fsanitize=${HEADGATE_SANITIZE})
endif()
# Everything that a fuzz target links tells libFuzzer where it has been (clang).
if(HEADGATE_FUZZ)
  target_compile_options(headgate_options INTERFACE
    -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined)
  target_link_options(headgate_options INTERFACE -fsanitize=address,undefined)
endif()
target_link_libraries(headgate_options INTERFACE Threads::Threads)

# One linker that is quick on two cores, when it is there.
find_program(MOLD mold)
if(MOLD AND NOT CMAKE_INTERPROCEDURAL_OPTIMIZATION)
  add_link_options(-fuse-ld=mold)
endif()

# headgate_quick_to_build(NAME): for test code in sanitizer builds. Sanitizers watch over what is tested;
# the tests' own macros cost more to optimise, and to check, than to run.
function(headgate_quick_to_build name)
  if(HEADGATE_SANITIZE)
    target_compile_options(${name} PRIVATE -O0 -fno-sanitize=undefined)
  endif()
endfunction()

# headgate_test(NAME SOURCES... LIBS...): a GoogleTest binary, known to ctest as NAME.
function(headgate_test name)
  cmake_parse_arguments(T "" "" "SOURCES;LIBS" ${ARGN})
  if(NOT HEADGATE_TESTS)
    return()
  endif()
  find_package(GTest REQUIRED)
  add_executable(${name} ${T_SOURCES})
  target_link_libraries(${name} PRIVATE headgate_options ${T_LIBS} GTest::gtest GTest::gmock GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE HEADGATE_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  headgate_quick_to_build(${name})
  add_test(NAME ${name} COMMAND ${name})
endfunction()
