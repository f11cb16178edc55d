# Compiler flags and the parts that are found or left out (docs/design.md, "Parts").
add_library(reformer_options INTERFACE)
target_compile_options(reformer_options INTERFACE
    -ffp-contract=off -fno-math-errno -fno-trapping-math
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wdouble-promotion -Wvla -Wstrict-prototypes -Wmissing-prototypes
    -Wcast-qual -Wformat=2 -Wundef -Wnull-dereference -Werror)
target_compile_definitions(reformer_options INTERFACE _POSIX_C_SOURCE=200809L _DEFAULT_SOURCE)

add_library(reformer_parts INTERFACE)
find_package(PkgConfig REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS C)
pkg_check_modules(jansson REQUIRED IMPORTED_TARGET jansson)
target_link_libraries(reformer_parts INTERFACE OpenMP::OpenMP_C PkgConfig::jansson m)

# reformer_part(NAME found): an optional part, -DREFORMER_WITH_NAME=OFF leaves it out; defines RF_WITH_NAME to 0 or 1.
function(reformer_part name found)
    option(REFORMER_WITH_${name} "use ${name} where it is found" ON)
    if(REFORMER_WITH_${name} AND ${found})
        target_compile_definitions(reformer_parts INTERFACE RF_WITH_${name}=1)
        target_link_libraries(reformer_parts INTERFACE ${ARGN})
        message(STATUS "${name}: used")
    else()
        target_compile_definitions(reformer_parts INTERFACE RF_WITH_${name}=0)
        message(STATUS "${name}: left out")
    endif()
endfunction()

find_package(dnnl QUIET)
reformer_part(ONEDNN "${dnnl_FOUND}" DNNL::dnnl)
# Event files need protobuf-c's library, and its compiler for src/io/tensorboard.proto.
pkg_check_modules(protobuf_c QUIET IMPORTED_TARGET libprotobuf-c)
find_program(PROTOC_C protoc-c)
set(protobuf_c_usable FALSE)
if(protobuf_c_FOUND AND PROTOC_C)
    set(protobuf_c_usable TRUE)
endif()
reformer_part(PROTOBUF_C "${protobuf_c_usable}" PkgConfig::protobuf_c)
if(protobuf_c_usable AND REFORMER_WITH_PROTOBUF_C)
    set(generated_folder ${CMAKE_CURRENT_BINARY_DIR}/generated)
    file(MAKE_DIRECTORY ${generated_folder})
    add_custom_command(
        OUTPUT ${generated_folder}/tensorboard.pb-c.c ${generated_folder}/tensorboard.pb-c.h
        COMMAND ${PROTOC_C} --c_out=${generated_folder} --proto_path=${CMAKE_CURRENT_SOURCE_DIR}/src/io tensorboard.proto
        DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/src/io/tensorboard.proto)
    set_source_files_properties(${generated_folder}/tensorboard.pb-c.c PROPERTIES COMPILE_OPTIONS -w)
    cmake_language(DEFER CALL target_sources reformer PRIVATE ${generated_folder}/tensorboard.pb-c.c
                   ${generated_folder}/tensorboard.pb-c.h)
    cmake_language(DEFER CALL target_include_directories reformer SYSTEM PRIVATE ${generated_folder})
endif()
pkg_check_modules(cairo QUIET IMPORTED_TARGET cairo)
reformer_part(CAIRO "${cairo_FOUND}" PkgConfig::cairo)
pkg_check_modules(lzma QUIET IMPORTED_TARGET liblzma)
reformer_part(LZMA "${lzma_FOUND}" PkgConfig::lzma)
pkg_check_modules(zlib QUIET IMPORTED_TARGET zlib)
reformer_part(ZLIB "${zlib_FOUND}" PkgConfig::zlib)
pkg_check_modules(zstd QUIET IMPORTED_TARGET libzstd)
reformer_part(ZSTD "${zstd_FOUND}" PkgConfig::zstd)
