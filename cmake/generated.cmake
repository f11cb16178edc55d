# Sources that are made while building: the messages of event files, src/io/NAME.proto -> generated/io/NAME.pb-c.{h,c}.
set(generated_sources)
file(GLOB protocols CONFIGURE_DEPENDS src/io/*.proto)
if(REFORMER_WITH_PROTOBUF_C AND protobuf_c_FOUND)
    foreach(protocol ${protocols})
        get_filename_component(name ${protocol} NAME_WE)
        set(output ${PROJECT_BINARY_DIR}/generated/io/${name}.pb-c)
        add_custom_command(OUTPUT ${output}.c ${output}.h
            COMMAND ${CMAKE_COMMAND} -E make_directory ${PROJECT_BINARY_DIR}/generated/io
            COMMAND ${PROTOC_C} --c_out=${PROJECT_BINARY_DIR}/generated/io --proto_path=${PROJECT_SOURCE_DIR}/src/io ${name}.proto
            DEPENDS ${protocol} VERBATIM)
        set_source_files_properties(${output}.c PROPERTIES COMPILE_OPTIONS -w)
        # Its initialisers, used there, cast const away.
        set_source_files_properties(src/io/${name}.c PROPERTIES COMPILE_OPTIONS -Wno-cast-qual)
        list(APPEND generated_sources ${output}.c ${output}.h)
    endforeach()
endif()
if(generated_sources)
    add_custom_target(generated_sources DEPENDS ${generated_sources})
endif()
