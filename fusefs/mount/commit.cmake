# cmake -DSOURCE=TOP -DMADE=FILE -P commit.cmake: writes FILE if its text would change. `git archive`
# has put the commit into commit.txt; a work tree asks git, but no repository in a folder above it.
file(READ "${CMAKE_CURRENT_LIST_DIR}/commit.txt" commit)
string(STRIP "${commit}" commit)
if(NOT commit MATCHES "^[0-9a-f]+$")
  set(commit "")
  if(EXISTS "${SOURCE}/.git")
    execute_process(COMMAND git --no-optional-locks -C "${SOURCE}" describe --always --dirty --abbrev=40 --exclude=*
      OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
    if(NOT failed EQUAL 0)
      set(commit "")
    endif()
  endif()
endif()
if(commit MATCHES "^([0-9a-f]+)(-dirty)?$")
  string(SUBSTRING "${CMAKE_MATCH_1}" 0 12 commit)
  string(APPEND commit "${CMAKE_MATCH_2}")
endif()
configure_file("${CMAKE_CURRENT_LIST_DIR}/commit.cc.in" "${MADE}" @ONLY)
