# CULVERT_VERSION: what git describe says, else the project's version.
set(CULVERT_VERSION "${PROJECT_VERSION}")
find_package(Git QUIET)
if(Git_FOUND)
	execute_process(
		COMMAND "${GIT_EXECUTABLE}" -C "${CMAKE_SOURCE_DIR}" describe --tags --dirty --match "v[0-9]*"
		OUTPUT_VARIABLE described OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
	if(NOT failed)
		string(REGEX REPLACE "^v" "" CULVERT_VERSION "${described}")
	else()
		execute_process(
			COMMAND "${GIT_EXECUTABLE}" -C "${CMAKE_SOURCE_DIR}" describe --always --abbrev=12
			OUTPUT_VARIABLE described OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
		if(NOT failed)
			set(CULVERT_VERSION "${PROJECT_VERSION}+g${described}")
		endif()
	endif()
endif()
