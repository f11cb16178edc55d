# Compiler flags and the parts that are found or left out (docs/design.md, "Parts").

# Warnings are errors with the compilers that our own runs use; a newer one may know warnings that we have not seen.
if((CMAKE_C_COMPILER_ID STREQUAL GNU AND CMAKE_C_COMPILER_VERSION VERSION_LESS 13) OR
   (CMAKE_C_COMPILER_ID STREQUAL Clang AND CMAKE_C_COMPILER_VERSION VERSION_LESS 15))
    set(known_compiler ON)
else()
    set(known_compiler OFF)
endif()
option(REFORMER_WERROR "warnings are errors" ${known_compiler})

add_library(reformer_options INTERFACE)
target_compile_options(reformer_options INTERFACE
    -ffp-contract=off -fno-math-errno -fno-trapping-math
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wdouble-promotion -Wvla -Wstrict-prototypes -Wmissing-prototypes
    -Wcast-qual -Wformat=2 -Wundef -Wnull-dereference)
if(REFORMER_WERROR)
    target_compile_options(reformer_options INTERFACE -Werror)
endif()
target_compile_definitions(reformer_options INTERFACE _POSIX_C_SOURCE=200809L _DEFAULT_SOURCE)
if(REFORMER_SANITIZE)
    add_compile_options(-fsanitize=${REFORMER_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    add_link_options(-fsanitize=${REFORMER_SANITIZE})
endif()
if(REFORMER_FUZZ)
    add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# What every build needs. Beside the targets, the names that users of an installed static library link (cmake/install.cmake).
add_library(reformer_parts INTERFACE)
find_package(PkgConfig REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS C)
pkg_check_modules(jansson REQUIRED IMPORTED_TARGET jansson)
target_link_libraries(reformer_parts INTERFACE OpenMP::OpenMP_C PkgConfig::jansson m)
set(part_modules jansson)
set(part_flags ${OpenMP_C_FLAGS})

# reformer_part(NAME found target module): an optional part; -DREFORMER_WITH_NAME=OFF leaves it out; defines RF_WITH_NAME to 0 or
# 1. `module` is its name for pkg-config, or a linker flag.
function(reformer_part name found target module)
    option(REFORMER_WITH_${name} "use ${name} where it is found" ON)
    if(REFORMER_WITH_${name} AND ${found})
        target_compile_definitions(reformer_parts INTERFACE RF_WITH_${name}=1)
        target_link_libraries(reformer_parts INTERFACE ${target})
        if(module MATCHES "^-")
            set(part_flags ${module} ${part_flags} PARENT_SCOPE)
        else()
            set(part_modules ${part_modules} ${module} PARENT_SCOPE)
        endif()
        message(STATUS "${name}: used")
    else()
        target_compile_definitions(reformer_parts INTERFACE RF_WITH_${name}=0)
        message(STATUS "${name}: left out")
    endif()
endfunction()

find_package(dnnl QUIET)
reformer_part(ONEDNN "${dnnl_FOUND}" DNNL::dnnl -ldnnl)
pkg_check_modules(protobuf_c QUIET IMPORTED_TARGET libprotobuf-c)
find_program(PROTOC_C protoc-c)
if(NOT PROTOC_C)
    set(protobuf_c_FOUND 0)
endif()
reformer_part(PROTOBUF_C "${protobuf_c_FOUND}" PkgConfig::protobuf_c libprotobuf-c)
pkg_check_modules(cairo QUIET IMPORTED_TARGET cairo)
reformer_part(CAIRO "${cairo_FOUND}" PkgConfig::cairo cairo)
pkg_check_modules(lzma QUIET IMPORTED_TARGET liblzma)
reformer_part(LZMA "${lzma_FOUND}" PkgConfig::lzma liblzma)
pkg_check_modules(zlib QUIET IMPORTED_TARGET zlib)
reformer_part(ZLIB "${zlib_FOUND}" PkgConfig::zlib zlib)
pkg_check_modules(zstd QUIET IMPORTED_TARGET libzstd)
reformer_part(ZSTD "${zstd_FOUND}" PkgConfig::zstd libzstd)
pkg_check_modules(libzip QUIET IMPORTED_TARGET libzip)
reformer_part(LIBZIP "${libzip_FOUND}" PkgConfig::libzip libzip)
