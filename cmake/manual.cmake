# Manual pages, written by the program from its own option table: `reformer manual FOLDER`.
if(NOT CMAKE_CROSSCOMPILING AND NOT REFORMER_FUZZ)
    set(manual_folder ${PROJECT_BINARY_DIR}/man)
    add_custom_command(OUTPUT ${manual_folder}/reformer.1
        COMMAND ${CMAKE_COMMAND} -E make_directory ${manual_folder}
        COMMAND program manual ${manual_folder}
        DEPENDS program VERBATIM COMMENT "Writing the manual pages")
    add_custom_target(manual ALL DEPENDS ${manual_folder}/reformer.1)
endif()
