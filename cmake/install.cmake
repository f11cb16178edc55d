# make install: library, headers, program (cmake/manual.cmake: its manual pages), and the two ways by which other projects find the library.
include(CMakePackageConfigHelpers)
install(TARGETS reformer EXPORT reformer)
if(NOT BUILD_SHARED_LIBS)
    install(TARGETS reformer_parts EXPORT reformer)
endif()
if(TARGET program)
    install(TARGETS program)
endif()
install(DIRECTORY configs DESTINATION ${CMAKE_INSTALL_DATADIR}/reformer FILES_MATCHING PATTERN "*.json")
install(DIRECTORY include/reformer DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")

# A static library leaves its parts to whoever links it; a shared one brings them.
if(BUILD_SHARED_LIBS)
    set(static_parts OFF)
    set(public_modules "")
    set(public_flags "")
else()
    set(static_parts ON)
    list(JOIN part_modules ", " public_modules)
    list(JOIN part_flags " " public_flags)
endif()
# The .pc file is found by pkg-config in LIBDIR/pkgconfig and knows the prefix from there, so an installed tree can be moved.
file(RELATIVE_PATH prefix_from_pkgconfig /P/${CMAKE_INSTALL_LIBDIR}/pkgconfig /P)
string(REGEX REPLACE "/$" "" prefix_from_pkgconfig ${prefix_from_pkgconfig})
configure_file(cmake/reformer.pc.in reformer.pc @ONLY)
configure_package_config_file(cmake/reformer-config.cmake.in reformer-config.cmake
    INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/reformer)
write_basic_package_version_file(reformer-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/reformer.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES ${PROJECT_BINARY_DIR}/reformer-config.cmake ${PROJECT_BINARY_DIR}/reformer-config-version.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/reformer)
install(EXPORT reformer FILE reformer-targets.cmake NAMESPACE reformer:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/reformer)
