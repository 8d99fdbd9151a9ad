# Installs the client into a fresh folder and builds examples/cpp with nothing else: once through the
# CMake package, once through pkg-config.
#
#   cmake -DBUILD=<build> -DSOURCE=<source> -DCXX=<compiler> -P installed.cmake
string(RANDOM LENGTH 8 suffix)
set(root ${BUILD}/installed-${suffix})
function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE code OUTPUT_VARIABLE out ERROR_VARIABLE out)
  if(NOT code EQUAL 0)
    file(REMOVE_RECURSE ${root})
    message(FATAL_ERROR "${ARGN}\n${out}")
  endif()
endfunction()

run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${root}/prefix --component client)
file(COPY ${SOURCE}/examples/cpp DESTINATION ${root})
run(${CMAKE_COMMAND} -S ${root}/cpp -B ${root}/build -DCMAKE_PREFIX_PATH=${root}/prefix
    -DCMAKE_CXX_COMPILER=${CXX} -DCMAKE_CXX_FLAGS=${FLAGS})
run(${CMAKE_COMMAND} --build ${root}/build)

file(GLOB_RECURSE pc ${root}/prefix/headgate.pc)
get_filename_component(pc_folder ${pc} DIRECTORY)
set(ENV{PKG_CONFIG_PATH} ${pc_folder})
execute_process(COMMAND pkg-config --cflags --libs headgate RESULT_VARIABLE code
                OUTPUT_VARIABLE flags OUTPUT_STRIP_TRAILING_WHITESPACE)
if(NOT code EQUAL 0)
  message(FATAL_ERROR "pkg-config does not know headgate")
endif()
separate_arguments(flags)
file(WRITE ${root}/small.cpp "#include <headgate/client.hpp>
int main(int argc, char**) { if (argc > 1) headgate::Client c(\"ipc:///nowhere\"); }
")
separate_arguments(own UNIX_COMMAND "${FLAGS}")
run(${CXX} -std=c++20 ${own} ${root}/small.cpp -o ${root}/small ${flags})
run(${root}/small)

# Without a gateway the program says so, quickly and with exit code 1.
execute_process(COMMAND ${root}/build/shop ipc://${root}/none.sock RESULT_VARIABLE code
                ERROR_VARIABLE said TIMEOUT 20)
file(REMOVE_RECURSE ${root})
if(NOT code EQUAL 1 OR NOT said MATCHES "unavailable")
  message(FATAL_ERROR "shop without a gateway: ${code} ${said}")
endif()
