# Manual pages and completion, written by the program from its own option table.
if(NOT CMAKE_CROSSCOMPILING AND NOT REFORMER_FUZZ)
    set(manual_folder ${PROJECT_BINARY_DIR}/man)
    set(completion_folder ${PROJECT_BINARY_DIR}/completion)
    add_custom_command(OUTPUT ${manual_folder}/reformer.1 ${completion_folder}/reformer
        COMMAND ${CMAKE_COMMAND} -E make_directory ${manual_folder} ${completion_folder}
        COMMAND program manual ${manual_folder}
        COMMAND program completion bash > ${completion_folder}/reformer
        DEPENDS program VERBATIM COMMENT "Writing the manual pages and completion")
    add_custom_target(manual ALL DEPENDS ${manual_folder}/reformer.1 ${completion_folder}/reformer)
    install(DIRECTORY ${manual_folder}/ DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 OPTIONAL FILES_MATCHING PATTERN "*.1")
    install(FILES ${completion_folder}/reformer DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions OPTIONAL)
endif()
