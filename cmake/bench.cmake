# tests/bench/NAME.c: a program bench_NAME that measures and prints, no test.
file(GLOB sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/tests/bench/*.c")
if(NOT TARGET helpers_unit_tunnel)
	list(FILTER sources EXCLUDE REGEX "/review.c$") # it stands on the unit tests' helpers, and those on cmocka
endif()
foreach(source IN LISTS sources)
	cmake_path(GET source STEM name)
	add_executable(bench_${name} "${source}")
	target_link_libraries(bench_${name} PRIVATE culvert_flags culvert_edge culvert_tunnel)
endforeach()
# It makes its objects as the unit tests make theirs.
target_sources(bench_kube PRIVATE "${CMAKE_SOURCE_DIR}/tests/unit/kube/encode.c")
target_include_directories(bench_kube PRIVATE "${CMAKE_SOURCE_DIR}/tests")
target_link_libraries(bench_kube PRIVATE culvert_kube)
if(TARGET bench_review)
	# Two workers in one process, as the unit tests build them.
	target_include_directories(bench_review PRIVATE "${CMAKE_SOURCE_DIR}/tests")
	target_link_libraries(bench_review PRIVATE helpers_unit_tunnel helpers_unit culvert_tunnel)
endif()
