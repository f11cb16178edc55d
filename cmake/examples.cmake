# The examples that are programs, as build/examples/NAME. (They need an installed library otherwise: see their READMEs.)
add_executable(example_layer examples/layer/layer.c)
target_link_libraries(example_layer PRIVATE reformer reformer_options m)
set_target_properties(example_layer PROPERTIES OUTPUT_NAME layer RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/examples)
