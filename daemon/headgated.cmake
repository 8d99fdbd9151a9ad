# headgated: the parts, wired together.
find_package(CLI11 REQUIRED)
if(TARGET headgate_pool AND TARGET headgate_plugin AND TARGET headgate_config)
  add_library(headgate_gateway STATIC ${CMAKE_CURRENT_LIST_DIR}/connect_check.cpp
              ${CMAKE_CURRENT_LIST_DIR}/gateway.cpp
              ${CMAKE_CURRENT_LIST_DIR}/gateway_credentials.cpp
              ${CMAKE_CURRENT_LIST_DIR}/gateway_drain.cpp
              ${CMAKE_CURRENT_LIST_DIR}/gateway_logins.cpp
              ${CMAKE_CURRENT_LIST_DIR}/gateway_reload.cpp
              ${CMAKE_CURRENT_LIST_DIR}/gateway_show.cpp
              ${CMAKE_CURRENT_LIST_DIR}/store_init.cpp)
  target_link_libraries(headgate_gateway PUBLIC headgate_access headgate_admin headgate_config
                        headgate_dispatch headgate_log headgate_loop headgate_plugin headgate_pool
                        headgate_transport)
  target_compile_definitions(headgate_gateway PUBLIC HEADGATE_VERSION="${PROJECT_VERSION}")
  add_executable(headgated ${CMAKE_CURRENT_LIST_DIR}/main.cpp)
  target_link_libraries(headgated PRIVATE headgate_gateway CLI11::CLI11)
  set_target_properties(headgated PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
  install(TARGETS headgated RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
